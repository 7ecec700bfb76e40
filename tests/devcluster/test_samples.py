"""The demo's samples: every survivor of what is deployed, below the Portfolio's own prefix."""

from pathlib import Path

from builders import World
from palm import artifacts
from palm.contract import EvaluationRequest
from palm.evaluations import SamplesFile, ShownResponse
from palm_devcluster.demo.samples import compared, write_markdown
from palm_store import InMemoryStore


def test_every_survivor_says_something_and_nobody_else(tmp_path: Path) -> None:
    world = World()
    world.run()
    bucket = InMemoryStore()
    for request in world.requests.values():
        if isinstance(request, EvaluationRequest):
            file = SamplesFile(
                policy=request.policy,
                evaluation_digest=request.evaluation_digest,
                rewards=("steps", "brevity"),
                responses=(
                    ShownResponse(
                        prompt="a", text=f"{request.policy} | says", tokens=1, rewards=(0.5, -1.0)
                    ),
                ),
            )
            key = artifacts.evaluation_samples(request.policy_digest, request.evaluation_digest)
            bucket.write(f"runs/{key}", file.model_dump_json(by_alias=True).encode())
    deployed = world.body["status"]["portfolio"]
    sha256 = deployed["manifest"]["sha256"]
    manifest = world.store.objects[artifacts.manifest_copy("ml", "assistant", sha256)]
    said = compared(world.body, manifest, bucket)
    names = ["base", *(policy["name"] for policy in deployed["policies"])]
    assert [(c.policy.name, c.missing) for c in said.columns] == [(name, "") for name in names]
    write_markdown(tmp_path / "samples.md", said)
    lines = (tmp_path / "samples.md").read_text().splitlines()
    assert "| 1 | base |  | base \\| says | 1 | 0.5 | -1 |" in lines
