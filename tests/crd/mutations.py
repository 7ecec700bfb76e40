# ruff: noqa: E501
"""Wrong Portfolios: one change each, and what the refusal must name."""

import copy
from dataclasses import dataclass, field, replace
from typing import Any

ABSENT = object()


@dataclass(frozen=True)
class Wrong:
    """A change of a valid Portfolio, and the field, value and rule that the refusal names."""

    name: str
    path: tuple[str | int, ...]
    to: Any
    field: str
    value: str
    rule: str
    beside: dict[str, Any] = field(default_factory=dict)
    """Parts of the spec that it is wrong beside, and that are right alone."""


def mutated(portfolio: dict[str, Any], wrong: Wrong) -> dict[str, Any]:
    """Return a copy with the change; folders on the way are made, ABSENT removes."""
    changed = copy.deepcopy(portfolio)
    if wrong.beside:
        changed["spec"] |= wrong.beside
    node: Any = changed
    for step in wrong.path[:-1]:
        node = node.setdefault(step, {}) if isinstance(node, dict) else node[step]
    if wrong.to is ABSENT:
        del node[wrong.path[-1]]
    else:
        node[wrong.path[-1]] = wrong.to
    return changed


def _spec(name: str, path: str, to: Any, value: str, rule: str, *, field: str = "") -> Wrong:
    steps = tuple(int(step) if step.isdigit() else step for step in path.split("."))
    shown = "spec"
    for step in steps:
        shown += f"[{step}]" if isinstance(step, int) else f".{step}"
    return Wrong(name, ("spec", *steps), to, field or shown, value, rule)


def _mixing(wrong: Wrong) -> Wrong:
    return replace(wrong, beside={"oracle": {"type": "MOD"}})


_LABELS = "training.template.labels"
_RESOURCES = "training.template.resources"

WRONG = (
    Wrong("long name", ("metadata", "name"), "a" * 41, "metadata.name", '"aaaa', "at most 40"),
    Wrong("name of a digit", ("metadata", "name"), "9to5", "metadata.name", '"9to5"', "start with a letter"),
    Wrong("dotted name", ("metadata", "name"), "a.b", "metadata.name", '"a.b"', "lower-case letters, digits and hyphens"),
    Wrong("kind of the past", ("apiVersion",), "palm-operator.dev/v1", "Portfolio", "palm-operator.dev/v1", "no matches for kind"),
    _spec("class in capitals", "operatorClass", "Team", '"Team"', "should match"),
    _spec("no base model", "baseModel", ABSENT, "baseModel", "Required value"),
    _spec("base model on disk", "baseModel.uri", "/models/base", '"/models/base"', "should match '^(s3|hf)://.+'"),
    _spec("unpinned model", "baseModel.uri", "hf://Qwen/Qwen2.5-3B", '"hf://Qwen/Qwen2.5-3B"', "@revision"),
    _spec("model of a branch", "baseModel.uri", "hf://Qwen/Qwen2.5-3B@main", '"hf://Qwen/Qwen2.5-3B@main"', "a branch moves"),
    _spec("parent folder", "baseModel.uri", "s3://palm/../other", '"s3://palm/../other"', 'must not contain ".."'),
    _spec("bucket alone", "baseModel.uri", "s3://palm", '"s3://palm"', "s3://bucket/key"),
    _spec("bucket in capitals", "prompts.train.uri", "s3://PALM/x.jsonl", '"s3://PALM/x.jsonl"', "lower-case"),
    _spec("full models on one server", "serving.mode", "SharedAdapters", '"SharedAdapters"', "needs spec.training.adapter.type LoRA"),
    _spec("unknown oracle", "oracle.type", "Soup", '"Soup"', 'supported values: "FineTune", "MOD"'),
    _mixing(_spec("mixing in vLLM", "evaluation.engine", "vLLM", '"vLLM"', "vLLM samples from one model")),
    _mixing(_spec("mixing without a KL penalty", "training.klCoefficient", "0.00", '"0.00"', "with a KL penalty")),
    _mixing(_spec("mixing with no part of a penalty", "training.klCoefficient", "0/8", '"0/8"', "with a KL penalty")),
    _spec("empty segment", "prompts.evaluation.uri", "s3://palm//x.jsonl", '"s3://palm//x.jsonl"', "without empty segments"),
    _spec("prompts on the web", "prompts.train.uri", "https://x/y", '"https://x/y"', "should match '^(s3|hf)://.+'"),
    _spec("prompts of a moving branch", "prompts.train.uri", "hf://datasets/a/b@main/x.parquet", '"hf://datasets/a/b@main/x.parquet"', "a branch moves"),
    _spec("a dataset without its file", "prompts.train.uri", "hf://datasets/a/b@1", '"hf://datasets/a/b@1"', "must be hf://datasets/organization/name@revision/path"),
    _spec("RLOO divides by groups", "training", {"algorithm": "RLOO", "advantageScale": "Group"}, '"Group"', "needs algorithm GRPO, not RLOO"),
    _spec("RLOO normalizes first", "training", {"algorithm": "RLOO", "aggregation": "NormalizeThenSum"}, '"NormalizeThenSum"', "needs algorithm GRPO, not RLOO"),
    _spec("no prompts", "prompts.evaluation.limit", 0, "0", "greater than or equal to 1"),
    _spec("one reward", "rewards", [{"name": "a", "verifiable": {"type": "ArithmeticSteps"}}], "1", "at least 2 items"),
    _spec("reward twice", "rewards.1.name", "brevity", '"brevity"', "names are unique", field="spec.rewards"),
    _spec("reward in capitals", "rewards.0.name", "Brevity", '"Brevity"', "should match"),
    _spec("two kinds of reward", "rewards.1.model", {"uri": "s3://palm/reward"}, 'it has several', "exactly one of verifiable, model and entrypoint", field="spec.rewards[1]"),
    _spec("no kind of reward", "rewards.1.verifiable", ABSENT, "it has none", "exactly one of verifiable, model and entrypoint", field="spec.rewards[1]"),
    _spec("unknown reward", "rewards.0.verifiable.type", "Kindness", '"Kindness"', 'supported values: "BrevityIfCorrect", "ArithmeticSteps"'),
    _spec("unpinned reward model", "rewards.1", {"name": "b", "model": {"uri": "hf://a/b"}}, '"hf://a/b"', "@revision", field="spec.rewards[1].model.uri"),
    _spec("regex without a pattern", "rewards.0.verifiable", {"type": "Regex"}, "Regex", "which needs it", field="spec.rewards[0].verifiable"),
    _spec("pattern without regex", "rewards.0.verifiable", {"type": "Length", "pattern": "a"}, "Regex", "which needs it", field="spec.rewards[0].verifiable"),
    _spec("format without its placeholders", "rewards.1", {"name": "b", "model": {"uri": "s3://palm/b", "template": "Format", "format": "{prompt}"}}, "{prompt}", "with {prompt} and {response}", field="spec.rewards[1].model.format"),
    _spec("template without its format", "rewards.1", {"name": "b", "model": {"uri": "s3://palm/b", "template": "Format"}}, "template Format", "needs a format", field="spec.rewards[1].model.template"),
    _spec("format of a chat", "rewards.1", {"name": "b", "model": {"uri": "s3://palm/b", "format": "{prompt}"}}, "{prompt}", "belongs to template Format", field="spec.rewards[1].model.format"),
    _spec("unknown preset", "rewards.1", {"name": "b", "model": {"uri": "s3://palm/b", "preset": "Beaver"}}, '"Beaver"', 'supported values: "SkyworkLlama"', field="spec.rewards[1].model.preset"),
    _spec("function that is a command", "rewards.1", {"name": "b", "entrypoint": {"function": "os:system()", "version": "1"}}, '"os:system()"', "should match", field="spec.rewards[1].entrypoint.function"),
    _spec("function without a version", "rewards.1", {"name": "b", "entrypoint": {"function": "a:b"}}, "Required value", "version", field="spec.rewards[1].entrypoint.version"),
    _spec("greedy and many samples", "evaluation.decoding", "Greedy", "Greedy", "set samplesPerPrompt to 1"),
    _spec("sure of everything", "evaluation.confidence", "1", '"1"', "less than 1"),
    _spec("exact to the last digit", "evaluation.precision", {"standardError": "0"}, '"0"', "greater than 0", field="spec.evaluation.precision.standardError"),
    _spec("fewer samples at most than at least", "evaluation.precision", {"standardError": "0.1", "maxSamplesPerPrompt": 1}, "1 must", "at least samplesPerPrompt", field="spec.evaluation.precision.maxSamplesPerPrompt"),
    _spec("no budget of tokens", "rewards.0.verifiable.maxTokens", 0, "0", "greater than or equal to 1"),
    _spec("empty range", "rewards.0.range", {"min": "1", "max": "1.0"}, 'min "1"', 'less than max "1.0"', field="spec.rewards[0].range.min"),
    _spec("range of fractions upside down", "rewards.0.range", {"min": "1/2", "max": "1/3"}, 'min "1/2"', 'less than max "1/3"', field="spec.rewards[0].range.min"),
    _spec("float", "grid.mu", 0.5, '"number"', "must be of type string"),
    _spec("zero mu", "grid.mu", "0", '"0"', "greater than 0"),
    _spec("large mu", "grid.mu", "31/30", '"31/30"', "at most 1"),
    _spec("mu in words", "grid.mu", "half", '"half"', "should match"),
    _spec("division by zero", "grid.mu", "8/0", '"8/0"', "should match"),
    _spec("decimal over decimal", "grid.mu", "0.5/2", '"0.5/2"', "should match"),
    _spec("negative alpha", "grid.alpha", "-0.2", '"-0.2"', "should match"),
    _spec("large alpha", "grid.alpha", "1.5", '"1.5"', "at most 1"),
    _spec("unknown grid", "grid.strategy", "Simplex", '"Simplex"', 'supported values: "PALM", "Uniform", "Random", "Explicit"'),
    _spec("PALM without mu", "grid", {"alpha": "0.5"}, "Required value", "strategy PALM needs it", field="spec.grid.mu"),
    _spec("PALM without alpha", "grid", {"mu": "0.5"}, "Required value", "strategy PALM needs it", field="spec.grid.alpha"),
    _spec("PALM by size", "grid.size", 9, "strategy is PALM", "belongs to strategy Uniform or Random"),
    _spec("unknown spacing", "grid.spacing", "Wide", '"Wide"', 'supported values: "Descending", "Even"'),
    _spec("uniform without size", "grid", {"strategy": "Uniform"}, "Required value", "strategy Uniform or Random needs it", field="spec.grid.size"),
    _spec("uniform by mu", "grid", {"strategy": "Uniform", "size": 5, "mu": "1"}, "strategy is Uniform", "belongs to strategy PALM", field="spec.grid.mu"),
    _spec("uniform of nothing", "grid", {"strategy": "Uniform", "size": 0}, "0", "greater than or equal to 1", field="spec.grid.size"),
    _spec("random without end", "grid", {"strategy": "Random", "size": 10001}, "10001", "less than or equal to 10000", field="spec.grid.size"),
    _spec("random by list", "grid", {"strategy": "Random", "size": 5, "weights": [["1", "0"]]}, "strategy is Random", "belongs to strategy Explicit", field="spec.grid.weights"),
    _spec("seed of PALM", "grid.seed", 1, "strategy is PALM", "belongs to strategy Uniform or Random"),
    _spec("explicit without weights", "grid", {"strategy": "Explicit"}, "Required value", "strategy Explicit needs it", field="spec.grid.weights"),
    _spec("weights off the simplex", "grid", {"strategy": "Explicit", "weights": [["1/3", "2/3"], ["0.5", "0.4"]]}, "[0.5, 0.4]", "must sum to 1", field="spec.grid.weights[1]"),
    _spec("weights too short", "grid", {"strategy": "Explicit", "weights": [["0.2", "0.3", "0.5"]]}, "weights", "one entry per reward", field="spec.grid.weights"),
    _spec("negative weight", "grid", {"strategy": "Explicit", "weights": [["1.5", "-0.5"]]}, '"-0.5"', "should match", field="spec.grid.weights[0][1]"),
    _spec("unknown search", "search.mode", "Lucky", '"Lucky"', 'supported values: "Adaptive", "Propose", "Grid"'),
    _spec("no oracle calls", "search.maxOracleCalls", 0, "0", "greater than or equal to 1"),
    _spec("fewer calls than rewards", "search.maxOracleCalls", 1, "1 must", "at least the number of rewards"),
    _spec("pruning all", "pruning.mu", "1", '"1"', "less than 1"),
    _spec("negative tolerance", "pruning.alpha", "-1", '"-1"', "should match"),
    _spec("unknown solver", "pruning.solver", "Lucky", '"Lucky"', 'supported values: "Exact", "Greedy"'),
    _spec("no learning", "training.learningRate", "0.0", '"0.0"', "greater than 0"),
    _spec("uneven batch", "training.batchSize", 66, "66", "multiple of completionsPerPrompt, 4"),
    _spec("less than a step", "training.episodes", 60, "60", "at least batchSize, 64"),
    _spec("no comparison", "training.completionsPerPrompt", 1, "1", "greater than or equal to 2"),
    _spec("no rank", "training.adapter.rank", 0, "0", "greater than or equal to 1"),
    _spec("huge rank", "training.adapter.rank", 4096, "4096", "less than or equal to 512"),
    _spec("no Jobs", "training.parallelism", 0, "0", "greater than or equal to 1"),
    _spec("no nodes", "training.nodes", 0, "0", "greater than or equal to 1"),
    _spec("too many nodes", "training.nodes", 65, "65", "less than or equal to 64"),
    _spec("batch that nodes cannot share", "training.nodes", 3, "64", "multiple of nodes, 3", field="spec.training.batchSize"),
    Wrong("server for one of two nodes", ("spec", "training", "rollouts"), {"engine": "vLLMServer"}, "spec.training.rollouts.engine", '"vLLMServer"', "does not go with nodes 2", {"training": {"nodes": 2}}),
    _spec("queue of two words", "training.queueName", "gpu queue", '"gpu queue"', "should match"),
    _spec("unknown engine", "evaluation.engine", "Guess", '"Guess"', 'supported values: "Auto"'),
    _spec("the operator's variable", "training.template.env", [{"name": "PALM_REQUEST"}], '"PALM_REQUEST"', "must not start with PALM_ or AWS_", field="spec.training.template.env[0].name"),
    _spec("credentials in the open", "evaluation.template.env", [{"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}], '"AWS_SECRET_ACCESS_KEY"', "must not start with PALM_ or AWS_", field="spec.evaluation.template.env[0].name"),
    _spec("variable twice", "training.template.env", [{"name": "A"}, {"name": "A"}], '"A"', "Duplicate value", field="spec.training.template.env[1]"),
    _spec("label of ours", _LABELS, {"palm-operator.dev/policy": "x"}, "palm-operator.dev/", "must not have keys"),
    _spec("queue by label", _LABELS, {"kueue.x-k8s.io/queue-name": "x"}, "kueue.x-k8s.io/", "training.queueName"),
    _spec("annotation of ours", "serving.template.annotations", {"palm-operator.dev/x": "y"}, "palm-operator.dev/", "must not have keys"),
    _spec("label with a space", _LABELS, {"team": "a b"}, '"a b"', "should match"),
    _spec("key with a space", _LABELS, {"a team": "b"}, "key", "qualified name"),
    _spec("quantity in words", _RESOURCES, {"limits": {"cpu": "many"}}, '"many"', "resource quantity", field="spec.training.template.resources.limits[cpu]"),
    _spec("negative quantity", _RESOURCES, {"limits": {"cpu": -1}}, "-1", "at least 0", field="spec.training.template.resources.limits[cpu]"),
    _spec("request above limit", _RESOURCES, {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}, "requests", "must not exceed the limit", field="spec.training.template.resources.requests"),
    _spec("toleration of nothing", "training.template.tolerations", [{"effect": "NoSchedule"}], "operator Exists", "when key is left out", field="spec.training.template.tolerations[0]"),
    _spec("bucket too short", "storage.s3.bucket", "ab", '"ab"', "at least 3 chars"),
    _spec("bucket with underscore", "storage.s3.bucket", "my_bucket", '"my_bucket"', "should match"),
    _spec("prefix upwards", "storage.s3.prefix", "a/../b", '"a/../b"', 'must not contain ".."'),
    _spec("prefix from the root", "storage.s3.prefix", "/a", '"/a"', 'must not start or end with "/"'),
    _spec("prefix with a hole", "storage.s3.prefix", "a//b", '"a//b"', 'nor contain "//"'),
    _spec("endpoint without scheme", "storage.s3.endpoint", "minio:9000", '"minio:9000"', "should match '^(https?://"),
    _spec("endpoint with a path", "storage.s3.endpoint", "https://s3.example/x", '"https://s3.example/x"', "should match '^(https?://"),
    _spec("endpoint with credentials", "storage.s3.endpoint", "https://u:p@s3.example", '"https://u:p@s3.example"', "must not contain credentials"),
    _spec("secret without a name", "storage.s3.credentialsSecret", {}, "credentialsSecret.name", "Required value"),
    _spec("no servers", "serving.maxPolicies", 0, "0", "greater than or equal to 1"),
    _spec("no server of a policy", "serving.minReplicas", 0, "0", "at least 1 where deploymentMode is not Knative"),
    _spec("unknown way out", "serving.onExceeded", "Drop", '"Drop"', 'supported values: "Hold", "BestEffort"'),
    _spec("unknown rollout", "serving.rollout", "Canary", '"Canary"', 'supported values: "BlueGreen", "Recreate"'),
    _spec("retired after a day in days", "serving.retireAfter", "1d", '"1d"', "should match"),
    _spec("retired never", "serving.retireAfter", "", '""', "at least 2 chars"),
    _spec("pin by number", "serving.pin", {"revision": "3", "sha256": "0" * 64}, '"3"', "at least 8 chars", field="spec.serving.pin.revision"),
    _spec("pin of no manifest", "serving.pin", {"revision": "7c1f09a2"}, "Required value", "sha256", field="spec.serving.pin.sha256"),
    _spec("unknown strategy", "serving.strategy", "BlueGreen", '"BlueGreen"', 'supported values: "RollingUpdate", "Recreate"'),
    _spec("mode of the past", "serving.deploymentMode", "RawDeployment", '"RawDeployment"', 'supported values: "Standard", "Knative"'),
    _spec("unknown serving", "serving.mode", "Everywhere", '"Everywhere"', 'supported values: "PerPolicy", "SharedAdapters", "None"'),
)  # fmt: skip
