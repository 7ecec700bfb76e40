"""What a Portfolio says about training one policy on several nodes."""

from typing import Any

from palm_operator.api.rules import digits, rule

MOST_NODES = 64


def node_rules(*, most_responses: int) -> tuple[dict[str, Any], ...]:
    """Return the rules of what goes with several nodes; they stand on the training.

    Args:
        most_responses: The largest batchSize.
    """
    return (
        rule(
            "self.nodes == 1 || self.rollouts.engine != 'vLLMServer'",
            says="'\"' + self.rollouts.engine + '\" does not go with nodes ' + "
            f"{digits('self.nodes', MOST_NODES)} + ': the server is in one Pod and answers that "
            "one only; set vLLMColocate, Transformers or Auto'",
            field=".rollouts.engine",
        ),
        rule(
            "self.batchSize % self.nodes == 0",
            says=f"{digits('self.batchSize', most_responses)} + ' must be a multiple of nodes, '"
            f" + {digits('self.nodes', MOST_NODES)} + ': each takes the same share of a batch'",
            field=".batchSize",
        ),
    )
