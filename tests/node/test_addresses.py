"""Each Pod's own loopback address."""

import ipaddress
import uuid

from palm_devcluster.node.addresses import ADDRESS, pod_address


def pod(uid: str, **spec: object) -> dict[str, object]:
    return {"metadata": {"uid": uid}, "spec": spec}


def test_an_address_is_loopback_depends_on_the_uid_alone_and_is_not_the_nodes():
    found = [ipaddress.ip_address(pod_address(pod(str(uuid.UUID(int=i))))) for i in range(2000)]
    assert all(address.is_loopback for address in found)
    assert min(found) >= ipaddress.ip_address("127.16.0.1")
    assert not any(int(address) & 0xFF in (0, 0xFF) for address in found)
    assert len(set(found)) >= 1990
    assert pod_address(pod("a")) == pod_address(pod("a", containers=[]))


def test_a_pod_on_the_hosts_network_has_the_hosts_address():
    assert pod_address(pod("a", hostNetwork=True)) == ADDRESS
