"""Which of a training's nodes this one is, and where the first of them is met. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from palm.contract import Execution
from palm.nodes import INDEX_VARIABLE, MAIN_ADDRESS_VARIABLE, MAIN_PORT
from palm_store.job import InvalidRequest


@dataclass(frozen=True)
class Machine:
    """One of the nodes that train a policy together."""

    index: int = 0
    count: int = 1
    host: str = "127.0.0.1"
    """Of the first node."""
    port: int = MAIN_PORT

    @property
    def is_first(self) -> bool:
        """Say whether it is the one that writes the policy."""
        return self.index == 0


def this_machine(execution: Execution, environment: Mapping[str, str]) -> Machine:
    """Return what the environment says of this node.

    Raises:
        InvalidRequest: Several nodes are wanted, and the environment does not say which this is.
    """
    if execution.nodes == 1:
        return Machine()
    index, address = environment.get(INDEX_VARIABLE, ""), environment.get(MAIN_ADDRESS_VARIABLE, "")
    host, _, port = address.rpartition(":")
    if not (index.isdecimal() and int(index) < execution.nodes):
        raise InvalidRequest(
            f"{INDEX_VARIABLE} is {index!r}; of {execution.nodes} nodes it must be the index"
        )
    if not (host and port.isdecimal()):
        raise InvalidRequest(
            f"{MAIN_ADDRESS_VARIABLE} is {address!r}; it must be host:port of the first node"
        )
    return Machine(int(index), execution.nodes, host, int(port))
