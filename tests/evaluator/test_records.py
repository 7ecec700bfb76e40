"""What an evaluation leaves besides its numbers: every response, some to read, where it is from."""

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs import evaluation_request
from palm.contract import AdapterSettings, EntrypointReward, RewardFunction
from palm.evaluations import SamplesFile, Source
from palm_evaluator.evaluation import Evaluated
from palm_evaluator.generation import Sampled, response_seed
from palm_evaluator.inputs import check_adapter
from palm_evaluator.tables import SHOWN_PROMPTS, responses_parquet, samples_json
from palm_store.job import InvalidRequest
from palm_store.prompts import Prompt
from palm_store.provenance import folder_source, prompts_source, reward_sources, versions

FOUND = Evaluated(
    [[Sampled(f"p{p} s{s}", 10 + s, 0.5 * p, k3=0.25) for s in range(3)] for p in range(20)],
    np.arange(2 * 20 * 3, dtype=np.float64).reshape(2, 20, 3),
)
PROMPTS = [Prompt(f"What is {p} + 1?", str(p + 1)) for p in range(20)]


def test_every_response_is_a_row_in_the_order_of_prompts_and_samples() -> None:
    request = evaluation_request()
    table = pq.read_table(BytesIO(responses_parquet(request, FOUND)))
    rows = table.to_pylist()
    assert len(rows) == 60
    assert rows[7] == {
        "prompt": 2,
        "sample": 1,
        "seed": response_seed(0, prompt=2, sample=1),
        "text": "p2 s1",
        "tokens": 11,
        "divergence": 1.0,
        "k3": 0.25,
        "reward.brevity": 7.0,
        "reward.helpfulness": 67.0,
    }
    assert table.schema.metadata[b"palm.evaluationDigest"] == b"e" * 32


def test_the_rows_of_two_policies_pair_by_seed() -> None:
    one, other = evaluation_request(), evaluation_request(policy="w1", policy_digest="b" * 32)
    seeds = [
        pq.read_table(BytesIO(responses_parquet(request, FOUND)))["seed"].to_pylist()
        for request in (one, other)
    ]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 60  # and no two responses share one


def test_people_get_the_first_sample_of_the_first_prompts() -> None:
    file = SamplesFile.model_validate_json(samples_json(evaluation_request(), PROMPTS, FOUND))
    assert len(file.responses) == SHOWN_PROMPTS
    assert file.rewards == ("brevity", "helpfulness")
    assert (file.responses[1].prompt, file.responses[1].text) == ("What is 1 + 1?", "p1 s0")
    assert file.responses[1].rewards == (3.0, 63.0)


def test_long_and_broken_text_is_shown_cut_and_mended() -> None:
    found = Evaluated([[Sampled("\ud800" + "x" * 9000, 1, 0.0)]], np.zeros((2, 1, 1)))
    file = samples_json(
        evaluation_request(), [Prompt([{"role": "user", "content": "hi"}], None)], found
    )
    shown = SamplesFile.model_validate_json(file).responses[0]
    assert shown.prompt == "user: hi"
    assert shown.text.endswith("xxx …")
    responses_parquet(evaluation_request(), found)


def test_a_folders_digest_is_that_of_sha256sums_lines(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.json").write_text("{}")
    (tmp_path / "a.safetensors").write_bytes(b"weights")
    lines = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in (("a.safetensors", b"weights"), ("b/x.json", b"{}"))
    )
    source = folder_source("s3://models/x", tmp_path)
    assert source.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert source.revision is None


def test_the_commit_that_was_downloaded_is_noted_and_the_note_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = folder_source("hf://a/b@v1", tmp_path)
    notes = tmp_path / ".cache" / "huggingface" / "download"
    notes.mkdir(parents=True)
    (notes / "config.json.metadata").write_text("0123abcd\netag\n1.0\n")
    after = folder_source("hf://a/b@v1", tmp_path)
    assert (before.revision, after.revision) == (None, "0123abcd")
    assert before.sha256 == after.sha256


def test_the_digest_of_prompts_is_of_those_that_are_used() -> None:
    whole, part = (prompts_source("s3://data/x", PROMPTS[:n], revision=None) for n in (20, 10))
    assert whole.sha256 != part.sha256
    assert part == prompts_source("s3://data/x", list(PROMPTS[:10]), revision=None)


def test_every_reward_says_where_it_comes_from() -> None:
    judge = EntrypointReward(function="judges:words", version="3")
    model = Source(uri="s3://models/x", sha256="0" * 64)
    wishes = (*evaluation_request().rewards, RewardFunction(name="wish", entrypoint=judge))
    kinds = [(item.name, item.kind, item.version) for item in reward_sources(wishes, {})]
    assert kinds == [
        ("brevity", "Verifiable", None),
        ("helpfulness", "Verifiable", None),
        ("wish", "Entrypoint", "3"),
    ]
    kind = RewardFunction.model_validate({"name": "kind", "model": {"uri": "s3://models/x"}})
    (source,) = reward_sources([kind], {"s3://models/x": model})
    assert source.source == model


def test_versions_name_what_may_have_had_a_hand_in_it() -> None:
    assert {"python", "palm-operator", "torch", "transformers", "numpy"} <= set(versions())


def test_an_adapter_of_another_rank_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    check_adapter(tmp_path, AdapterSettings(type="LoRA", rank=8), policy="w1")
    with pytest.raises(
        InvalidRequest, match="adapter of policy w1 has rank 8; the request says 16"
    ):
        check_adapter(tmp_path, AdapterSettings(type="LoRA", rank=16), policy="w1")
    with pytest.raises(InvalidRequest, match="w1 should be a full model, its files are an adapter"):
        check_adapter(tmp_path, AdapterSettings(type="Full"), policy="w1")
    (tmp_path / "adapter_config.json").write_text('{"r": ')
    with pytest.raises(InvalidRequest, match="is not there or has no rank"):
        check_adapter(tmp_path, AdapterSettings(type="LoRA", rank=8), policy="w1")
