"""Responses side by side: the same prompt, every survivor, nobody else."""

import pytest

from palm.errors import InvalidResult
from palm.evaluations import SamplesFile, ShownResponse
from palm_devcluster.demo.samples import side_by_side, write_markdown
from palm_store import InMemoryStore

MANIFEST = {
    "cover": {"policies": ["w00-aaaaaa", "w04-bbbbbb"]},
    "policies": [
        {"name": name, "sampleResponses": f"s3://palm/runs/{name}/samples.json"}
        for name in ("w00-aaaaaa", "w02-cccccc", "w04-bbbbbb")
    ],
}


def store(prompts: dict[str, list[str]]) -> InMemoryStore:
    made = InMemoryStore()
    for name, asked in prompts.items():
        file = SamplesFile(
            policy=name,
            evaluation_digest="e" * 32,
            rewards=("brevity", "humor"),
            responses=tuple(
                ShownResponse(prompt=p, text=f"{name} | says\n{p}", tokens=1, rewards=(0.5, -1.0))
                for p in asked
            ),
        )
        made.write(f"runs/{name}/samples.json", file.model_dump_json(by_alias=True).encode())
    return made


def test_every_survivor_says_something_to_each_common_prompt() -> None:
    said = side_by_side(MANIFEST, store({"w00-aaaaaa": ["a", "b"], "w04-bbbbbb": ["b", "a", "c"]}))
    assert [one.prompt for one in said] == ["a", "b"]
    assert list(said[0].responses) == ["w00-aaaaaa", "w04-bbbbbb"]
    assert said[0].rewards["w04-bbbbbb"] == "brevity 0.50, humor -1.00"


def test_what_policies_say_breaks_no_table(tmp_path) -> None:
    said = side_by_side(MANIFEST, store({"w00-aaaaaa": ["a"], "w04-bbbbbb": ["a"]}))
    write_markdown(tmp_path / "samples.md", said)
    lines = (tmp_path / "samples.md").read_text().splitlines()
    assert r"| w00-aaaaaa | w00-aaaaaa \| says a | brevity 0.50, humor -1.00 |" in lines


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidResult, match=r"no s3://palm/runs/w04-bbbbbb/samples\.json"):
        side_by_side(MANIFEST, store({"w00-aaaaaa": ["a"]}))
