"""What the chart makes of the gateway: nothing unless asked, and then with the least it needs."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from gateways import free_port

pytestmark = pytest.mark.cluster  # helm is built with the embedded cluster

CHART = Path(__file__).resolve().parents[2] / "charts" / "palm-operator"
NAME = "palm-operator-gateway"
ON = ("--set", "gateway.enabled=true", "--set", "gateway.namespaces={ml,other}")


def rendered(helm: Any, *arguments: str) -> dict[tuple[str, str, str], Any]:
    done = helm("template", "palm-operator", str(CHART), "-n", "palm-system", *arguments)
    assert done.returncode == 0, done.stderr
    objects = [item for item in yaml.safe_load_all(done.stdout) if item]
    return {
        (o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in objects
    }


def of_gateway(helm: Any, *arguments: str) -> dict[tuple[str, str], Any]:
    return {
        (kind, namespace): item
        for (kind, namespace, _), item in rendered(helm, *ON, *arguments).items()
        if item["metadata"]["labels"].get("app.kubernetes.io/name") == "palm-gateway"
    }


def pod(helm: Any, *arguments: str) -> Any:
    deployment = of_gateway(helm, *arguments)["Deployment", "palm-system"]
    return deployment["spec"]["template"]["spec"]


def environment(helm: Any, *arguments: str) -> dict[str, str]:
    (container,) = pod(helm, *arguments)["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_it_is_off_unless_asked_for(helm: Any) -> None:
    assert not [item for item in rendered(helm).values() if "gateway" in json.dumps(item)]


def test_all_of_it_is_there_when_asked_for(helm: Any) -> None:
    assert set(of_gateway(helm)) == {
        ("Deployment", "palm-system"),
        ("NetworkPolicy", "palm-system"),
        ("PodDisruptionBudget", "palm-system"),
        ("Service", "palm-system"),
        ("ServiceAccount", "palm-system"),
        ("Role", "ml"),
        ("Role", "other"),
        ("RoleBinding", "ml"),
        ("RoleBinding", "other"),
    }


def test_it_reads_config_maps_of_its_namespaces_and_nothing_else(helm: Any) -> None:
    objects = of_gateway(helm)
    for namespace in ("ml", "other"):
        role, binding = objects["Role", namespace], objects["RoleBinding", namespace]
        assert role["rules"] == [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}
        ]
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": NAME, "namespace": "palm-system"}
        ]
    assert pod(helm)["serviceAccountName"] == NAME
    assert environment(helm)["PALM_GATEWAY_NAMESPACES"] == "ml,other"


def test_its_pod_is_restricted(helm: Any) -> None:
    spec = pod(helm, "--set", "gateway.tokenSecret=t", "--set", "gateway.tlsSecret=s")
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(mount["readOnly"] for mount in container["volumeMounts"])


def test_the_operators_selectors_do_not_find_it(helm: Any) -> None:
    objects = rendered(helm, *ON, "--set", "networkPolicy.enabled=true")
    labels = objects["Deployment", "palm-system", NAME]["spec"]["template"]["metadata"]["labels"]
    for kind in ("Deployment", "NetworkPolicy"):
        spec = objects[kind, "palm-system", "palm-operator"]["spec"]
        selector = spec.get("selector", spec.get("podSelector"))["matchLabels"]
        assert not selector.items() <= labels.items()


def test_two_replicas_are_updated_and_drained_one_at_a_time(helm: Any) -> None:
    objects = of_gateway(helm)
    spec = objects["Deployment", "palm-system"]["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert objects["PodDisruptionBudget", "palm-system"]["spec"]["maxUnavailable"] == 1
    one = of_gateway(helm, "--set", "gateway.replicas=1")
    assert ("PodDisruptionBudget", "palm-system") not in one


def test_there_is_time_to_finish_what_has_begun(helm: Any) -> None:
    spec = pod(helm, "--set", "gateway.drainSeconds=7", "--set", "gateway.timeoutSeconds=100")
    assert spec["terminationGracePeriodSeconds"] > 107


def test_the_service_has_the_api_and_not_the_admin_port(helm: Any) -> None:
    for arguments, name in (((), "http"), (("--set", "gateway.tlsSecret=s"), "https")):
        (port,) = of_gateway(helm, *arguments)["Service", "palm-system"]["spec"]["ports"]
        assert port == {"name": name, "port": 80, "targetPort": "api"}
    (container,) = pod(helm)["containers"]
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["port"] == "admin"


def test_secrets_are_mounted_files_and_never_variables(helm: Any) -> None:
    arguments = [
        "--set", "gateway.tokenSecret=tokens", "--set", "gateway.tlsSecret=certificate",
        "--set", "gateway.upstreamCaConfigMap=ca",
    ]  # fmt: skip
    (container,) = pod(helm, *arguments)["containers"]
    assert not [entry for entry in container["env"] if "valueFrom" in entry]
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    variables = environment(helm, *arguments)
    assert variables["PALM_GATEWAY_TOKEN_FILE"] == f"{mounts['tokens']}/tokens"
    assert variables["PALM_GATEWAY_TLS_KEY"] == f"{mounts['tls']}/tls.key"
    assert variables["PALM_GATEWAY_UPSTREAM_CA"] == f"{mounts['upstream-ca']}/ca.crt"
    assert {v["name"] for v in pod(helm, *arguments)["volumes"]} == set(mounts)


def test_its_settings_are_ones_that_the_program_reads(helm: Any) -> None:
    from palm_gateway.settings import settings_from

    settings = settings_from(
        environment(
            helm,
            "--set-json", 'gateway.defaultPreferences={"ml/a":"x=1"}',
            "--set-json", 'gateway.upstreamHosts=["*.{namespace}.svc","a.example","[::1]"]',
            "--set-json", "gateway.connectSeconds=0.5", "--set", "gateway.maxBodyBytes=1000000000",
        )
    )  # fmt: skip
    assert settings.namespaces == ("ml", "other")
    assert settings.default_preferences == {"ml/a": {"x": 1.0}}
    assert settings.upstream_hosts == ("*.{namespace}.svc", "a.example", "[::1]")
    assert (settings.connect_seconds, settings.max_body_bytes) == (0.5, 10**9)


def test_it_listens_on_every_address_or_on_that_of_its_pod_alone(helm: Any) -> None:
    assert "PALM_GATEWAY_HOST" not in environment(helm)
    (container,) = pod(helm, "--set-string", "gateway.host=$(POD_IP)")["containers"]
    address, host = (e for e in container["env"] if e["name"] in ("POD_IP", "PALM_GATEWAY_HOST"))
    assert address["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert host == {"name": "PALM_GATEWAY_HOST", "value": "$(POD_IP)"}


def test_the_operator_is_told_where_it_is_and_whom_it_serves(helm: Any) -> None:
    def told(*arguments: str) -> dict[str, str]:
        objects = rendered(helm, *arguments)
        spec = objects["Deployment", "palm-system", "palm-operator"]["spec"]["template"]["spec"]
        return {entry["name"]: entry.get("value", "") for entry in spec["containers"][0]["env"]}

    assert not [name for name in told() if "GATEWAY" in name]
    variables = told(*ON, "--set-json", 'gateway.defaultPreferences={"ml/a":"x=1"}')
    assert variables["PALM_GATEWAY_URL"] == f"http://{NAME}.palm-system.svc"
    assert variables["PALM_GATEWAY_NAMESPACES"] == "ml,other"
    assert variables["PALM_GATEWAY_DEFAULT_PREFERENCES"] == '{"ml/a":"x=1"}'
    for arguments, url in (
        (("gateway.tlsSecret=s",), f"https://{NAME}.palm-system.svc:80"),
        (("gateway.tlsSecret=s", "gateway.service.port=443"), f"https://{NAME}.palm-system.svc"),
        (("gateway.service.port=8000",), f"http://{NAME}.palm-system.svc:8000"),
        (("gateway.url=https://llm.example/x",), "https://llm.example/x"),
    ):
        settings = [part for argument in arguments for part in ("--set", argument)]
        assert told(*ON, *settings)["PALM_GATEWAY_URL"] == url


def test_the_network_policy_lets_it_reach_its_namespaces(helm: Any) -> None:
    policy = of_gateway(
        helm,
        "--set-json", 'gateway.networkPolicy.metricsFrom=[{"podSelector":{}}]',
        "--set", "gateway.networkPolicy.apiServerCidrs={10.0.0.1/32}",
    )["NetworkPolicy", "palm-system"]["spec"]  # fmt: skip
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["ports"][0]["port"] for rule in policy["ingress"]] == ["api", "admin"]
    dns, api_server, upstreams = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert api_server["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    (selector,) = upstreams["to"]
    (expression,) = selector["namespaceSelector"]["matchExpressions"]
    assert expression["values"] == ["ml", "other"]
    off = of_gateway(helm, "--set", "gateway.networkPolicy.enabled=false")
    assert ("NetworkPolicy", "palm-system") not in off


def test_route_tables_are_protected_unless_told_otherwise(helm: Any) -> None:
    def policies(*arguments: str) -> list[str]:
        objects = rendered(helm, *arguments)
        texts = [
            json.dumps(o) for (kind, *_), o in objects.items() if kind.startswith("Validating")
        ]
        return [text for text in texts if "route-tables" in text]

    assert len(policies()) == 4
    assert any("someone" in p for p in policies("--set", "routeTables.writers={someone}"))
    assert policies("--set", "routeTables.protect=false") == []


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("gateway.namespaces=", "/gateway/namespaces"),
        ("gateway.namespaces={ML}", "/gateway/namespaces/0"),
        ("gateway.replicas=0", "/gateway/replicas"),
        ("gateway.port=80", "/gateway/port"),
        ("gateway.url=llm.example", "/gateway/url"),
        ("gateway.url=https://user:word@llm.example", "/gateway/url"),
        ("gateway.service.type=ExternalName", "/gateway/service/type"),
        ("gateway.upstreamHosts={*}", "/gateway/upstreamHosts/0"),
        ("gateway.upstreamHosts={http://a}", "/gateway/upstreamHosts/0"),
        ("gateway.timeoutSeconds=0", "/gateway/timeoutSeconds"),
        ("gateway.token=secret", "token"),
        ("gateway.networkPolicy.apiServerCidrs={all}", "/gateway/networkPolicy/apiServerCidrs/0"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field(helm: Any, setting: str, field: str) -> None:
    done = helm("template", "palm-operator", str(CHART), *ON, "--set", setting)
    assert done.returncode != 0
    assert field in done.stderr


@pytest.mark.parametrize("secret", ["", "tokens"])
def test_pod_security_restricted_accepts_it(
    helm: Any, kubectl: Any, namespace: str, secret: str
) -> None:
    """Server-side: the API server creates its Pod in a restricted namespace, without a warning."""
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    template = of_gateway(helm, "--set", f"gateway.tokenSecret={secret}")[
        "Deployment", "palm-system"
    ]["spec"]["template"]
    bare = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "gateway", "labels": template["metadata"]["labels"]},
        "spec": {**template["spec"], "serviceAccountName": "default"},
    }
    kubectl("-n", namespace, "create", "--dry-run=server", "-f", "-", stdin=json.dumps(bare))


def test_installed_it_becomes_ready_and_ends_when_told(
    helm: Any, kubectl: Any, namespace: str
) -> None:
    """As a Pod with its ServiceAccount's rights; the operator's Pod is scheduled nowhere."""
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    settings = {
        "gateway.enabled": "true",
        "gateway.namespaces": f"{{{namespace}}}",
        "gateway.replicas": "1",  # Pods of the embedded cluster share the machine's ports
        "gateway.port": str(free_port()),
        "gateway.adminPort": str(free_port()),
        "gateway.drainSeconds": "0",
        "gateway.timeoutSeconds": "5",
        "gateway.resources.requests.cpu": "10m",
    }
    arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    installed = helm(
        "install", "palm-operator", str(CHART), "-n", namespace, *arguments,
        "--set-string", "nodeSelector.palm-operator\\.dev/nowhere=true",
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    try:
        kubectl("rollout", "status", f"deployment/{NAME}", "-n", namespace, "--timeout=120s")
        answer = requests.get(f"http://127.0.0.1:{settings['gateway.port']}/v1/models", timeout=5)
        assert answer.json() == {"object": "list", "data": []}
        kubectl("scale", f"deployment/{NAME}", "-n", namespace, "--replicas=0")
        kubectl("wait", "--for=delete", "pod", "-n", namespace, "--timeout=60s",
                "-l", "app.kubernetes.io/name=palm-gateway")  # fmt: skip
    finally:
        removed = helm("uninstall", "palm-operator", "-n", namespace)
    assert removed.returncode == 0, removed.stderr
