"""`palm samples`: what the evaluator wrote of a portfolio's policies, put side by side."""

import json
import shlex
from collections.abc import Iterator
from copy import deepcopy
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from builders import World, portfolio_body
from cli.api_server import ApiServer
from cli.invoke import EXAMPLES, Ran, palm
from palm import artifacts
from palm.contract import EvaluationRequest
from palm.errors import StoreUnavailable
from palm.policies import policy_name
from palm_cli.failures import InvalidInput
from palm_cli.inputs import printable
from palm_cli.samples import Column, Compared, Sampled, asked, column, side_by_side
from palm_cli.samples_report import markdown, screen
from palm_evaluator.evaluation import Evaluated
from palm_evaluator.generation import Sampled as Drawn
from palm_evaluator.tables import samples_json
from palm_store import InMemoryStore
from palm_store.prompts import Prompt

PROMPTS = [Prompt(f"What is {n} + 1?", str(n + 1)) for n in range(3)]


def spoken(request: EvaluationRequest) -> bytes:
    """What the evaluator leaves when a policy says its name."""
    said = [[Drawn(f"{request.policy} says {n}", 7 + n, 0.0)] for n in range(len(PROMPTS))]
    rewards = np.array([[[0.5], [1.0], [1.5]], [[-1.0], [-2.0], [-3.0]]])
    return samples_json(request, PROMPTS, Evaluated(said, rewards))


def evaluations(world: World) -> dict[str, EvaluationRequest]:
    requests = world.requests.values()
    return {r.policy: r for r in requests if isinstance(r, EvaluationRequest)}


def key_of(request: EvaluationRequest) -> str:
    return artifacts.evaluation_samples(request.policy_digest, request.evaluation_digest)


def made(**spec: object) -> World:
    world = World(body=portfolio_body(**spec))
    world.run()
    for _ in range(4):
        world.serve()
        world.step()
    for request in evaluations(world).values():
        world.store.write(key_of(request), spoken(request))
    return world


@pytest.fixture(scope="module")
def deployed() -> World:
    return made()


@pytest.fixture
def api(deployed: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    world = World(
        body=deepcopy(deployed.body), store=deepcopy(deployed.store), requests=deployed.requests
    )
    server = ApiServer(world)
    config = tmp_path / "config"
    config.write_text(json.dumps(server.kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(config))
    monkeypatch.setattr("palm_store.S3Store", lambda _: world.store)
    yield server
    server.close()


def survivors(world: World) -> list[str]:
    return [policy["name"] for policy in world.body["status"]["portfolio"]["policies"]]


def names_in(ran: Ran) -> list[str]:
    return [policy["name"] for policy in ran.answer["policies"]]


def compared(*texts: str, prompt: str = "Hello?") -> Compared:
    """Policies w0, w1, … of which each said one of these."""
    columns = []
    for index, text in enumerate(texts):
        policy = Sampled(f"w{index}", (0.7016, 0.2984), "a" * 32, "e" * 32, 0.5)
        response = {"prompt": prompt, "text": text, "tokens": 3, "rewards": [0.5, -1.0]}
        columns.append(column(policy, file_of(response)))
    return Compared("ml", "assistant", "1a2b3c4d", ("steps", "brevity"), tuple(columns))


def file_of(*responses: object, evaluation: str = "e" * 32) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 1,
            "policy": "w0",
            "evaluationDigest": evaluation,
            "rewards": ["steps", "brevity"],
            "responses": responses,
        }
    ).encode()


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.startswith("palm samples ")])
def test_examples_of_the_help_run(api: ApiServer, example: str) -> None:
    ran = palm(*shlex.split(example)[1:])
    assert (ran.code, ran.err) == (0, "")
    assert "base says 2" in (ran.out if "json" not in example else str(ran.answer))


def test_the_base_policy_comes_first_then_the_portfolio_with_weights_tokens_and_rewards(
    api: ApiServer,
) -> None:
    ran = palm("samples", "assistant", "-o", "json")
    assert names_in(ran) == ["base", *survivors(api.world)]
    base, first, *_ = ran.answer["policies"]
    assert (base["weights"], base["missing"]) == (None, None)
    shown = api.world.body["status"]["portfolio"]["policies"][0]
    assert first["weights"] == [float(weight) for weight in shown["weights"]]
    prompt = ran.answer["prompts"][1]
    assert prompt["prompt"] == "What is 1 + 1?"
    assert prompt["responses"][1] == {
        "policy": shown["name"],
        "text": f"{shown['name']} says 1",
        "tokens": 8,
        "rewards": {"steps": 1.0, "brevity": -2.0},
    }


def test_all_has_whom_the_portfolio_left_out_and_policies_chooses(api: ApiServer) -> None:
    everybody = names_in(palm("samples", "assistant", "--all", "-o", "json"))
    assert sorted(everybody) == sorted(evaluations(api.world))
    assert len(everybody) > 1 + len(survivors(api.world))
    left_out = everybody[-1]
    chosen = palm("samples", "assistant", "--policies", f"{left_out},base", "-o", "json")
    assert names_in(chosen) == [left_out, "base"]
    assert chosen.answer["policies"][0]["usage"] is None


def test_mixtures_are_among_all(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    world = made(oracle={"type": "MOD"})
    api.world.body, api.world.store = world.body, world.store
    mixtures = {r.policy for r in evaluations(world).values() if r.mixture}
    assert mixtures
    assert mixtures <= set(names_in(palm("samples", "assistant", "--all", "-o", "json")))
    assert not mixtures & set(names_in(palm("samples", "assistant", "-o", "json")))


def test_the_base_policy_is_that_of_the_manifest_whatever_the_spec_says_now(
    api: ApiServer,
) -> None:
    api.world.body["spec"]["evaluation"] = {"seed": 99}
    api.world.body["spec"]["prompts"]["evaluation"] = {"uri": "s3://data/other.jsonl"}
    ran = palm("samples", "assistant", "-o", "json")
    assert ran.code == 0
    assert ran.answer["policies"][0]["evaluation_digest"] == (
        evaluations(api.world)["base"].evaluation_digest
    )


def test_what_is_missing_of_one_is_said_and_hides_no_other(api: ApiServer) -> None:
    absent, broken, other, *_ = survivors(api.world)
    requests = evaluations(api.world)
    api.world.store.delete(key_of(requests[absent]))
    api.world.store.write(key_of(requests[broken]), b"{")
    for output in ("table", "markdown"):
        ran = palm("samples", "assistant", "-o", output)
        assert ran.code == 3
        assert f"{absent}: no samples: " in ran.out
        assert f"{other} says 0" in ran.out
    ran = palm("samples", "assistant", "-o", "json")
    missing = {policy["name"]: policy["missing"] for policy in ran.answer["policies"]}
    assert (ran.code, missing["base"], missing[other]) == (3, None, None)
    assert missing[absent] == f"{key_of(requests[absent])} is not there"
    assert missing[broken] == f"{key_of(requests[broken])} is no samples file"


def test_what_s3_refuses_of_one_is_said_and_hides_no_other(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = key_of(evaluations(api.world)[survivors(api.world)[0]])

    class Refusing(InMemoryStore):
        def read(self, key: str, *, max_bytes: int) -> bytes | None:
            if key == refused:
                raise StoreUnavailable(f"s3://palm/{key}: AccessDenied", code="AccessDenied")
            return super().read(key, max_bytes=max_bytes)

    store = Refusing()
    store.objects = api.world.store.objects
    monkeypatch.setattr("palm_store.S3Store", lambda _: store)
    ran = palm("samples", "assistant", "-o", "json")
    assert ran.code == 4
    assert "AccessDenied" in ran.answer["policies"][1]["missing"]
    assert len(ran.answer["prompts"][0]["responses"]) == len(survivors(api.world))


def test_with_a_storage_no_cluster_is_asked(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_of_cluster = palm("samples", "assistant", "-o", "json").answer
    monkeypatch.delenv("KUBECONFIG")
    api.close()
    storage = ["--storage", "s3://palm/runs", "-o", "json"]
    assert palm("samples", "ml/assistant", *storage).answer == asked_of_cluster
    del api.world.store.objects[artifacts.record_entry("ml", "assistant", 1)]
    broken = palm("samples", "ml/assistant", *storage)
    assert (broken.code, broken.answer) == (0, asked_of_cluster)
    assert "the record of ml/assistant is not whole: entry 1 is missing" in broken.err
    absent = palm("samples", "ml/other", *storage)
    assert absent.code == 3
    assert "has no deployment of ml/other" in absent.err


def test_a_manifest_that_is_not_the_deployed_one_is_not_believed(api: ApiServer) -> None:
    sha256 = api.world.body["status"]["portfolio"]["manifest"]["sha256"]
    key = artifacts.manifest_copy("ml", "assistant", sha256)
    api.world.store.objects[key] += b" "
    ran = palm("samples", "assistant")
    assert (ran.code, ran.out) == (3, "")
    assert "its SHA-256 is" in ran.err
    api.world.store.delete(key)
    assert (
        f"manifest {sha256} of ml/assistant is not in s3://palm" in palm("samples", "assistant").err
    )
    del api.world.body["status"]["portfolio"]
    assert "nothing of Portfolio ml/assistant is deployed yet" in palm("samples", "assistant").err


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["ml/assistant", "-n", "other"], "name two namespaces"),
        (["a/b/c"], "must be NAME or NAMESPACE/NAME"),
        (["assistant", "--policies", "w99-\x1b[2J"], "--policies names w99-?[2J, which"),
        (["assistant", "--policies", "base", "--all"], "choose one"),
        (["assistant", "--endpoint", "https://s3.example.com"], "go with --storage"),
        (["assistant", "--storage", "s3://palm/runs"], "needs --namespace"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    api: ApiServer, arguments: list[str], rule: str
) -> None:
    ran = palm("samples", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert rule in ran.err


RESPONSE = {"prompt": "a", "text": "b", "tokens": 1, "rewards": [0.5, 1.0]}
POLICY = Sampled("w0", (1.0, 0.0), "a" * 32, "e" * 32, 1.0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "is not there"),
        (b"", "is no samples file"),
        (file_of({**RESPONSE, "rewards": [float("nan"), 1.0]}), "is no samples file"),
        (file_of({**RESPONSE, "text": "x" * 9000}), "is no samples file"),
        (file_of(*[RESPONSE] * 65), "is no samples file"),
        (file_of(RESPONSE, evaluation="f" * 32), "is of another evaluation"),
        (file_of({**RESPONSE, "rewards": [0.5]}), "has a response without all rewards"),
        (file_of(), "has no responses"),
    ],
)
def test_a_bad_file_is_no_answer(content: bytes | None, why: str) -> None:
    found = column(POLICY, content)
    assert found.missing == f"{POLICY.key} {why}"
    assert found.responses == ()


def test_prompts_pair_by_text_and_one_that_is_there_twice_is_two() -> None:
    def said(name: str, *prompts: str) -> Column:
        responses = [{**RESPONSE, "prompt": p, "text": f"{name}{i}"} for i, p in enumerate(prompts)]
        return column(Sampled(name, (), None, "e" * 32), file_of(*responses))

    rows = side_by_side([said("x", "a", "b", "a"), said("y", "b", "a", "a", "c")])
    found = [(row.prompt, [response.text for _, response in row.said]) for row in rows]
    assert found == [
        ("a", ["x0", "y1"]),
        ("b", ["x1", "y0"]),
        ("a", ["x2", "y2"]),
        ("c", ["y3"]),
    ]


def test_a_manifest_of_other_inputs_still_names_its_policies(deployed: World) -> None:
    sha256 = deployed.body["status"]["portfolio"]["manifest"]["sha256"]
    content = deployed.store.objects[artifacts.manifest_copy("ml", "assistant", sha256)]
    later = json.loads(content)
    later["inputs"]["evaluation"]["inventedLater"] = True
    found = asked(json.dumps(later).encode())
    assert [policy.name for policy in found] == ["base", *survivors(deployed)]
    assert column(found[0], None).missing == "the manifest does not say how it was evaluated"


def test_more_policies_than_anybody_reads_are_not_read(deployed: World) -> None:
    sha256 = deployed.body["status"]["portfolio"]["manifest"]["sha256"]
    content = deployed.store.objects[artifacts.manifest_copy("ml", "assistant", sha256)]
    large = json.loads(content)
    for index in range(100, 200):
        digest = f"{index:032x}"
        name = policy_name(index, digest)
        more = {"index": index, "name": name, "policyDigest": digest}
        large["policies"].append({**large["policies"][0], **more})
    text = json.dumps(large).encode()
    with pytest.raises(InvalidInput, match=r"10\d policies would be shown; at most 100 can be"):
        asked(text, every=True)
    assert [policy.name for policy in asked(text, names=[name])] == [name]


HOSTILE = (
    "a|b\n`c` <img src=x> ![d](http://e) www.f.g @team #12 *h* \x1b[31m\x9b\u202ei &amp; :tada: $j$"
)


def test_markdown_is_a_table_that_no_text_breaks_out_of() -> None:
    lines = markdown(compared(HOSTILE, "fine", prompt=HOSTILE), longest=600).splitlines()
    assert "| 2 | w1 | (0.7016, 0.2984) | fine | 3 | 0.5 | -1 |" in lines
    (row,) = [line for line in lines if line.startswith("| 1 ")]
    assert row == (
        r"| 1 | w0 | (0.7016, 0.2984) | a\|b<br>\`c\` &lt;img src=x&gt; !\[d\](http\://e) www\.f.g "
        r"@<!-- -->team #<!-- -->12 \*h\* \[31mi &amp;amp; \:tada: \$j\$ | 3 | 0.5 | -1 |"
    )
    (asked_line,) = [line for line in lines if line.startswith("**Prompt.** ")]
    assert asked_line.removeprefix("**Prompt.** ") == row.split(" | ")[3]


def test_nobody_draws_on_a_terminal(api: ApiServer) -> None:
    request = evaluations(api.world)["base"]
    responses = [[Drawn(HOSTILE, 1, 0.0)] for _ in PROMPTS]
    found = Evaluated(responses, np.zeros((2, 3, 1)))
    prompts = [Prompt(f"[bold]{HOSTILE}", None) for _ in PROMPTS]
    api.world.store.write(key_of(request), samples_json(request, prompts, found))
    for output in ("table", "json", "markdown"):
        ran = palm("samples", "assistant", "-o", output)
        assert ran.code == 0
        assert ran.out == printable(ran.out), output
    answer = palm("samples", "assistant", "-o", "json").answer
    assert answer["prompts"][0]["responses"][0]["text"] == HOSTILE
    assert "[bold]a|b" in palm("samples", "assistant").out


def test_long_texts_are_cut_for_people_and_whole_for_programs(api: ApiServer) -> None:
    said = compared("x" * 4000)
    assert f"| {'x' * 10} … (3,990 more characters) |" in markdown(said, longest=10)
    ran = palm("samples", "assistant", "--longest", "4")
    assert "base … (7 more" in ran.out
    assert "base says 0" in str(palm("samples", "assistant", "--longest", "4", "-o", "json").answer)


def test_a_screen_says_who_said_it_and_what_it_is_worth() -> None:
    console = Console(width=80, file=StringIO())
    console.print(screen(compared("one", ""), longest=100))
    text = console.file.getvalue()
    for part in ("Hello?", "(0.7016, 0.2984)", "serves 50%", "3 tokens", "steps 0.5", "(nothing)"):
        assert part in text
