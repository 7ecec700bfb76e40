"""What the chart makes of its values, parsed; and which values it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.cluster  # helm is built with the embedded cluster

CHART = Path(__file__).resolve().parents[2] / "charts" / "palm-operator"


def rendered(helm: Any, *settings: str) -> dict[tuple[str, str], Any]:
    arguments = [part for setting in settings for part in ("--set", setting)]
    done = helm("template", "palm-operator", str(CHART), "-n", "palm-system", *arguments)
    assert done.returncode == 0, done.stderr
    objects = [item for item in yaml.safe_load_all(done.stdout) if item]
    return {(item["kind"], item["metadata"]["name"]): item for item in objects}


def operator_pod(helm: Any, *settings: str) -> Any:
    deployment = rendered(helm, *settings)["Deployment", "palm-operator"]
    return deployment["spec"]["template"]["spec"]


def environment(helm: Any, *settings: str) -> dict[str, Any]:
    (container,) = operator_pod(helm, *settings)["containers"]
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def test_the_chart_is_clean(helm: Any) -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_chart_and_distribution_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = (CHART.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    assert version is not None
    assert chart["version"] == chart["appVersion"] == version[1]


def test_the_operator_runs_with_nothing_it_does_not_need(helm: Any) -> None:
    pod = operator_pod(helm)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]


def test_one_leads_and_a_successor_waits_before_the_leader_leaves(helm: Any) -> None:
    spec = rendered(helm, "replicas=2")["Deployment", "palm-operator"]["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert environment(helm)["PALM_LEASE"] == "palm-system/palm-operator"
    assert environment(helm)["PALM_HTTP_HOST"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    role = rendered(helm)["Role", "palm-operator-lease"]
    assert role["metadata"]["namespace"] == "palm-system"
    assert [rule.get("resourceNames") for rule in role["rules"]] == [None, ["palm-operator"]]
    assert ("PodDisruptionBudget", "palm-operator") not in rendered(helm)
    assert rendered(helm, "podDisruptionBudget.enabled=true")[
        "PodDisruptionBudget", "palm-operator"
    ]


def test_with_namespaces_there_is_a_role_in_each_and_no_cluster_role(helm: Any) -> None:
    everywhere = rendered(helm)
    cluster = everywhere["ClusterRole", "palm-system-palm-operator"]["rules"]
    settings = ("watchNamespaces={ml,team-b}", "operatorClass=team")
    done = helm("template", "palm-operator", str(CHART), "-n", "palm-system",
                *[part for setting in settings for part in ("--set", setting)])  # fmt: skip
    objects = [item for item in yaml.safe_load_all(done.stdout) if item]
    roles = {
        o["metadata"]["namespace"]: o["rules"]
        for o in objects
        if o["kind"] == "Role" and o["metadata"]["name"] == "palm-system-palm-operator"
    }
    assert set(roles) == {"ml", "team-b"}
    assert roles["ml"] == roles["team-b"]
    only_cluster = [r for r in cluster if r not in roles["ml"]]
    assert [r["resources"] for r in only_cluster] == [["customresourcedefinitions"], ["namespaces"]]
    assert not [o for o in objects if o["kind"] == "ClusterRoleBinding"]
    assert environment(helm, *settings)["PALM_WATCH_NAMESPACES"] == "ml,team-b"
    assert environment(helm, *settings)["PALM_OPERATOR_CLASS"] == "team"


@pytest.mark.parametrize("operator_class", ["", "team"])
def test_what_an_install_looks_after_has_one_object_that_gives_no_rights(
    helm: Any, operator_class: str
) -> None:
    name = f"palm-operator.dev:class:{operator_class}"
    everywhere = rendered(helm, f"operatorClass={operator_class}")
    assert everywhere["ClusterRole", name]["rules"] == []
    assert ("Role", name) not in everywhere
    somewhere = rendered(helm, f"operatorClass={operator_class}", "watchNamespaces={ml}")
    assert somewhere["Role", name]["metadata"]["namespace"] == "ml"
    assert somewhere["Role", name]["rules"] == []
    assert ("ClusterRole", name) not in somewhere


def test_an_install_protects_its_own_route_tables(helm: Any) -> None:
    name = ("ValidatingAdmissionPolicy", "palm-system-palm-operator-alone-writes-route-tables")
    mine = rendered(helm)[name]["spec"]["matchConstraints"]
    assert mine["objectSelector"]["matchExpressions"] == [
        {"key": "palm-operator.dev/operator-class", "operator": "DoesNotExist"}
    ]
    assert "namespaceSelector" not in mine
    team = rendered(helm, "operatorClass=team", "watchNamespaces={ml}")[name]["spec"]
    selector = team["matchConstraints"]["objectSelector"]
    assert selector["matchLabels"]["palm-operator.dev/operator-class"] == "team"
    assert "matchExpressions" not in selector
    (where,) = team["matchConstraints"]["namespaceSelector"]["matchExpressions"]
    assert where["values"] == ["ml"]


def test_a_gateway_serves_only_where_the_operator_works(helm: Any) -> None:
    done = helm("template", "palm-operator", str(CHART), "--set", "gateway.enabled=true",
                "--set", "gateway.namespaces={ml}", "--set", "watchNamespaces={other}")  # fmt: skip
    assert done.returncode != 0
    assert 'gateway.namespaces has "ml"' in done.stderr


def test_probes_ask_the_port_that_the_operator_is_told(helm: Any) -> None:
    (container,) = operator_pod(helm, "httpPort=18080")["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 18080}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert environment(helm, "httpPort=18080")["PALM_HTTP_PORT"] == "18080"


def test_no_role_has_a_wildcard_or_reads_secrets(helm: Any) -> None:
    roles = [
        item for (kind, _), item in rendered(helm).items() if "Role" in kind and "rules" in item
    ]
    assert len(roles) == 5
    for role in roles:
        for rule in role["rules"]:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not any("*" in word for word in words)
            assert not {"secrets", "pods/log", "pods/exec"} & set(rule["resources"])


def test_settings_reach_the_operator(helm: Any) -> None:
    variables = environment(
        helm,
        "storage.endpoints[0]=http://127.0.0.1:9000",
        "storage.endpoints[1]=https://s3.example.com",
        "storage.locations[0]=models/{namespace}",
        "storage.region=eu-central-1",
        "resyncSeconds=60",
        "logFormat=json",
        "trainer.image.tag=1.2.3",
        "serving.url=https://llm.example/{namespace}/{name}",
        "serving.maxPolicies=4",
        "serving.maxPoliciesInAll=40",
    )
    assert variables["PALM_SERVING_URL"] == "https://llm.example/{namespace}/{name}"
    assert json.loads(variables["PALM_STORAGE_ENDPOINTS"]) == [
        "http://127.0.0.1:9000",
        "https://s3.example.com",
    ]
    assert json.loads(variables["PALM_STORAGE_LOCATIONS"]) == ["models/{namespace}"]
    assert variables["PALM_MAX_POLICIES_IN_ALL"] == "40"
    assert variables["AWS_REGION"] == "eu-central-1"
    assert variables["PALM_RESYNC_SECONDS"] == "60"
    assert variables["PALM_LOG_FORMAT"] == "json"
    assert variables["PALM_TRAINER_IMAGE"] == "palm-operator/palm-trainer:1.2.3"
    assert variables["PALM_EVALUATOR_IMAGE"] == "palm-operator/palm-evaluator:0.1.0"


def test_without_a_secret_the_service_account_is_the_identity(helm: Any) -> None:
    assert not [name for name in environment(helm) if name.startswith("AWS_")]


def test_keys_come_from_the_named_secret_and_are_nowhere_in_the_manifest(helm: Any) -> None:
    variables = environment(helm, "storage.credentialsSecret=palm-s3")
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert variables[key] == {"secretKeyRef": {"name": "palm-s3", "key": key}}


def test_a_digest_wins_over_a_tag(helm: Any) -> None:
    digest = "sha256:" + "0" * 64
    (container,) = operator_pod(helm, f"image.digest={digest}", "image.tag=v1")["containers"]
    assert container["image"] == f"palm-operator/palm-operator@{digest}"


def test_the_network_policy_is_there_when_asked_for(helm: Any) -> None:
    assert not [kind for kind, _ in rendered(helm) if kind == "NetworkPolicy"]
    policy = rendered(helm, "networkPolicy.enabled=true")["NetworkPolicy", "palm-operator"]
    assert policy["spec"]["ingress"] == []


def test_a_foreign_service_account_can_be_used(helm: Any) -> None:
    objects = rendered(helm, "serviceAccount.create=false", "serviceAccount.name=mine")
    assert not [kind for kind, _ in objects if kind == "ServiceAccount"]
    binding = objects["ClusterRoleBinding", "palm-system-palm-operator"]
    assert binding["subjects"][0]["name"] == "mine"


@pytest.mark.parametrize(
    ("setting", "field", "rule"),
    [
        ("replicas=-1", "/replicas", "minimum"),
        ("replica=2", "replica", "not allowed"),
        ("operatorClass=My Team", "/operatorClass", "pattern"),
        ("storage.locations[0]=models/", "/storage/locations/0", "pattern"),
        ("watchNamespaces[0]=A", "/watchNamespaces/0", "pattern"),
        ("image.digest=sha256:12", "/image/digest", "pattern"),
        ("image.repository=", "/image/repository", "minLength"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy", "must be one of"),
        ("httpPort=80", "/httpPort", "minimum"),
        ("httpPort=http", "/httpPort", "want integer"),
        ("logFormat=xml", "/logFormat", "must be one of"),
        ("resyncSeconds=0", "/resyncSeconds", "minimum"),
        ("storage.endpoints[0]=https://u:p@s3", "/storage/endpoints/0", "pattern"),
        ("storage.endpoints=http://s3", "/storage/endpoints", "want array"),
        ("storage.credentialsSecret=My Secret", "/storage/credentialsSecret", "pattern"),
        ("serving.maxPolicies=65", "/serving/maxPolicies", "maximum"),
        ("serving.maxPolicies=-1", "/serving/maxPolicies", "minimum"),
        ("serving.url=https://x/{name}", "/serving/url", "pattern"),
        ("serving.url=/{namespace}/{name}", "/serving/url", "pattern"),
        ("networkPolicy.egressPorts[0]=0", "/networkPolicy/egressPorts/0", "minimum"),
    ],
)
def test_a_wrong_value_is_refused_with_field_and_rule(
    helm: Any, setting: str, field: str, rule: str
) -> None:
    done = helm("template", "palm-operator", str(CHART), "--set", setting)
    assert done.returncode != 0
    assert field in done.stderr
    assert rule in done.stderr


def test_the_readme_explains_every_value() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")

    def leaves(values: Any, path: str = "") -> list[str]:
        if isinstance(values, dict) and values:
            return [
                leaf for key, value in values.items() for leaf in leaves(value, f"{path}.{key}")
            ]
        return [path.removeprefix(".")]

    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    del values["resources"], values["gateway"]["resources"]
    for leaf in leaves(values):
        assert f"`{leaf}`" in readme, leaf
