"""How far training leaves a policy from the best one for its weight vector: ``make bench-oracle``.

The toy task, the 13 weight vectors {0} ∪ {0.2·5^(k/5)} (a PALM grid for two rewards), one real
training each with the settings named on the command line, and one evaluation each with the same
prompts and seeds. π_w should be the best policy for its own w: its regret is 1 - J_w(π_w) / max_π
J_w(π), and another policy counts as better where it is so by more than two standard errors of the
paired difference over prompts (neighbours are often the same policy up to noise).

    python tests/bench/oracle.py [before] [after] [--weights 0,4,8] [--seed 0]

``before`` divides advantages by their group's standard deviation, as TRL does unless told
otherwise: what is optimized is then not J_w, since KL is weighed against the spread of a group.
``after`` are the settings of examples/arithmetic.yaml. Results are kept below build/oracle/ and not
made again.
"""

import argparse
import contextlib
import hashlib
import io
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from palm_store.job import quiet_libraries  # noqa: E402

quiet_libraries([])

import torch  # noqa: E402

from palm.contract import (  # noqa: E402
    AdapterSettings,
    AffineMap,
    Execution,
    PromptSource,
    RewardFunction,
    StorageLocation,
    TrainingRequest,
    TrainingSettings,
    VerifiableReward,
)
from palm_evaluator.generation import Sampling  # noqa: E402
from palm_evaluator.with_transformers import TransformersGenerator  # noqa: E402
from palm_rewards import Responses, RewardScorer, reward_functions  # noqa: E402
from palm_store import InMemoryStore  # noqa: E402
from palm_store.prompts import Prompt, parsed_prompts  # noqa: E402
from palm_trainer.toy import cached_toy_model  # noqa: E402
from palm_trainer.training import present_hardware, train  # noqa: E402
from palm_trainer.workplace import Workplace  # noqa: E402

SAMPLES = 12  # per prompt: 1,200 responses per policy
BETA, LONGEST = 0.01, 48
LEVELS = [0.2 * 5 ** (k / 5) for k in range(6)]
REWARDS = (
    RewardFunction(
        name="brevity", verifiable=VerifiableReward(type="BrevityIfCorrect", max_tokens=LONGEST)
    ),
    RewardFunction(name="helpfulness", verifiable=VerifiableReward(type="ArithmeticSteps")),
)
BEFORE: dict[str, Any] = {
    "episodes": 3840,
    "batch_size": 64,
    "completions_per_prompt": 4,
    "learning_rate": 3e-4,
    "learning_rate_schedule": "Constant",
    "advantage_scale": "Group",
}


@dataclass(frozen=True)
class Judged:
    """What one trained policy is worth.

    ``utilities`` are r - β·KL per prompt, shape (2, prompts).
    """

    weights: tuple[float, float]
    rewards: list[float]
    divergence: float
    length: float
    utilities: list[list[float]]
    seconds: float
    """Processor time of the training."""


def weight_vectors() -> list[tuple[float, float]]:
    """Return the 13 weight vectors, from brevity alone to helpfulness alone."""
    left = [(1.0, 0.0), *((1 / (1 + level), level / (1 + level)) for level in LEVELS)]
    return [*left, *((b, a) for a, b in reversed(left[:-1]))]


def settings_of(name: str) -> dict[str, Any]:
    """Return what is tried: BEFORE, or what the example says."""
    if name == "before":
        return BEFORE
    training = yaml.safe_load((ROOT / "examples" / "arithmetic.yaml").read_text())["spec"][
        "training"
    ]
    return {
        "algorithm": training.get("algorithm", "GRPO"),
        "episodes": training["episodes"],
        "batch_size": training["batchSize"],
        "completions_per_prompt": training["completionsPerPrompt"],
        "learning_rate": float(training["learningRate"]),
        "learning_rate_schedule": training.get("learningRateSchedule", "Constant"),
        "advantage_scale": training.get("advantageScale", "None"),
    }


def judged(chosen: dict[str, Any], weights: tuple[float, float], seed: int, toy: Path) -> Judged:
    """Train one policy and evaluate it."""
    settings = TrainingSettings(
        kl_coefficient=BETA,
        adapter=AdapterSettings(type="Full"),
        max_completion_tokens=LONGEST,
        seed=seed,
        **chosen,
    )
    request = TrainingRequest(
        policy="w",
        policy_digest="0" * 32,
        base_model="s3://bench/toy",
        prompts=PromptSource(uri="s3://bench/prompts.jsonl"),
        rewards=REWARDS,
        affine_maps=(AffineMap(offset=0.0, scale=1.0),) * 2,
        weights=weights,
        settings=settings,
        execution=Execution(checkpoint_seconds=None),
        storage=StorageLocation(bucket="bench"),
    )
    prompts = parsed_prompts((toy / "prompts.jsonl").read_bytes(), None)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        place = Workplace(Path(folder))
        place.base.symlink_to(toy / "model")
        scorers = reward_functions(REWARDS, model_folder=lambda reward: place.folder)
        begin = time.process_time()
        train(
            request,
            place,
            prompts=prompts,
            scorers=scorers,
            store=InMemoryStore(),
            hardware=present_hardware(),
        )
        seconds = time.process_time() - begin
        rewards, divergence, lengths = _evaluated(toy / "model", place.model, prompts, scorers)
    utilities = (rewards - BETA * divergence).mean(axis=2)
    return Judged(
        weights=weights,
        rewards=rewards.mean(axis=(1, 2)).tolist(),
        divergence=float(divergence.mean()),
        length=float(lengths.mean()),
        utilities=utilities.tolist(),
        seconds=seconds,
    )


def _evaluated(
    base: Path, policy: Path, prompts: list[Prompt], scorers: list[RewardScorer]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    generator = TransformersGenerator.load(base, policy, AdapterSettings(type="Full"))
    sampling = Sampling(samples_per_prompt=SAMPLES, max_completion_tokens=LONGEST, seed=7)
    sampled = generator.sampled([item.prompt for item in prompts], sampling)
    flat = [(prompt, item) for prompt, row in zip(prompts, sampled, strict=True) for item in row]
    responses = Responses(
        prompts=[prompt.prompt for prompt, _ in flat],
        texts=[item.text for _, item in flat],
        token_counts=[item.tokens for _, item in flat],
        answers=[prompt.answer for prompt, _ in flat],
    )
    shape = (len(prompts), SAMPLES)
    rewards = np.array([scorer(responses) for scorer in scorers]).reshape(2, *shape)
    divergence = np.array([item.divergence for _, item in flat]).reshape(shape)
    return rewards, divergence, np.array([float(item.tokens) for _, item in flat])


def summary(name: str, found: list[Judged]) -> str:
    """Return the table of what was found, and its last line."""
    weights = np.array([item.weights for item in found])
    per_prompt = np.einsum(
        "wd,pdn->wpn", weights, np.array([item.utilities for item in found])
    )  # (weights, policies, prompts)
    values = per_prompt.mean(axis=2)
    own, best = np.diag(values), values.max(axis=1)
    regret = 1 - own / best
    better = np.zeros_like(values, dtype=bool)
    for row in range(len(found)):
        differences = per_prompt[row] - per_prompt[row, row]
        error = differences.std(axis=1, ddof=1) / np.sqrt(differences.shape[1])
        better[row] = differences.mean(axis=1) > 2 * error
        better[row, row] = False
    lines = [f"{name}:", "   w (brevity, helpfulness)   rewards        KL    length  J_w    regret"]
    for item, value, lost, beaten in zip(found, own, regret, better.any(axis=1), strict=True):
        lines.append(
            f"   {item.weights[0]:.3f}, {item.weights[1]:.3f}               "
            f"{item.rewards[0]:.3f}, {item.rewards[1]:.3f}   {item.divergence:.2f}  "
            f"{item.length:5.1f}  {value:.4f}  {lost:.4f}{'  beaten' if beaten else ''}"
        )
    count = len(found)
    lines += [
        f"{name}: processor time per training at most {max(i.seconds for i in found):.0f} s; "
        f"mean J_w {own.mean():.4f}; highest by any margin {int((regret <= 0).sum())}/{count}",
        f"oracle: best for own weight {count - int(better.any(axis=1).sum())}/{count}, "
        f"worst regret {regret.max():.3f}",
    ]
    return "\n".join(lines)


def main() -> None:
    """Train, evaluate, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=["before", "after"])
    parser.add_argument("--weights", help="indices of the weight vectors, all without")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    toy, every = cached_toy_model(), weight_vectors()
    indices = [int(i) for i in arguments.weights.split(",")] if arguments.weights else None
    for name in arguments.names:
        chosen, found = settings_of(name), []
        key = hashlib.sha256(json.dumps([chosen, arguments.seed, str(toy)]).encode()).hexdigest()
        for index, weights in enumerate(every):
            if indices is not None and index not in indices:
                continue
            path = ROOT / "build" / "oracle" / key[:12] / f"{index:02d}.json"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(asdict(judged(chosen, weights, arguments.seed, toy))))
            found.append(Judged(**json.loads(path.read_text())))
            print(f"{name} {index}: rewards {found[-1].rewards}", flush=True)
        print(summary(name, found), flush=True)


if __name__ == "__main__":
    main()
