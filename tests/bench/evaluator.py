"""The evaluator's throughput against bare ``LLM.generate`` and bare scoring, on the same prompts.

Runs itself on vLLM's Python. Both do the same work: responses to the toy's prompts from one engine
that is warm, then their rewards by a small reward model and a program. ``k1`` needs the tokens'
log-probabilities and another pass over every response of a trained policy, which a script that only
scores has not: it is measured beside, against bare sampling with the same adapter.

Prints ``name: value`` lines, of the fastest of several rounds, which take turns: other load of the
machine only slows. The last says whether the goal, 0.9 of bare, is reached.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PROMPTS, SAMPLES, LONGEST, ROUNDS = 100, 8, 48, 7
GOAL = 0.9


def main() -> None:
    """Start over on vLLM's Python, with the toy's model and a reward model in a folder."""
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
        return
    from jobs import random_adapter
    from palm_devcluster.paths import cache_folder
    from palm_devcluster.vllm.evaluator import command
    from palm_trainer.toy import cached_toy_model
    from reward_models import distilbert_classifier

    with tempfile.TemporaryDirectory(prefix="palm-bench-") as name:
        folder = Path(name)
        (folder / "toy").symlink_to(cached_toy_model())
        (folder / "adapter").symlink_to(random_adapter())
        distilbert_classifier(folder / "reward")
        argv = command(cache_folder(), "evaluator", str(folder))
        if argv is None:
            sys.exit("there is no vLLM on this machine: `python -m palm_devcluster.vllm` says why")
        quiet = {"VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}
        here = {"PYTHONPATH": str(Path(__file__).parent)}
        subprocess.run(argv, env=os.environ | quiet | here, check=True)


def measure(folder: Path) -> None:
    """Measure both ways on one engine, turn by turn, and print the fastest rounds."""
    import json

    from palm.contract import AdapterSettings
    from palm_evaluator.with_vllm import VllmGenerator
    from palm_store.prompts import parsed_prompts

    lines = (folder / "toy" / "prompts.jsonl").read_bytes()
    prompts = parsed_prompts(lines, PROMPTS)
    lora = AdapterSettings(type="LoRA", rank=8)
    loaded = VllmGenerator.load(
        folder / "toy" / "model", folder / "adapter", lora, longest=LONGEST + 40
    )
    base = VllmGenerator(loaded._base, loaded._base, None, loaded._ends)
    scorers = reward_scorers(folder)
    ways = {
        "bare": lambda: bare(base, folder, prompts),
        "evaluator": lambda: ours(base, scorers, prompts),
        "bare_adapter": lambda: bare(loaded, folder, prompts),
        "evaluator_adapter_with_k1": lambda: ours(loaded, scorers, prompts),
    }
    for way in ways.values():  # all warm
        way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            times[name].append(timed(way))
    for name, seconds in times.items():
        print(f"{name}_seconds: {json.dumps([round(t, 2) for t in seconds])}")
        print(f"{name}_responses_per_second: {PROMPTS * SAMPLES / min(seconds):.1f}")
    with_k1 = min(times["bare_adapter"]) / min(times["evaluator_adapter_with_k1"])
    print(f"evaluator_adapter_with_k1_ratio: {with_k1:.3f}")
    ratio = min(times["bare"]) / min(times["evaluator"])
    print(f"evaluator_ratio: {ratio:.3f} ({'at least' if ratio >= GOAL else 'below'} {GOAL})")


def timed(work: Any) -> float:
    """Return the seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def reward_scorers(folder: Path) -> list[Any]:
    """Return the evaluator's scorers: the small reward model and brevity."""
    from jobs import REWARDS
    from palm.contract import ModelReward, RewardFunction
    from palm_rewards import reward_functions

    model = ModelReward(uri="s3://bench/reward", template="Response", max_length=64)
    functions = [REWARDS[0], RewardFunction(name="humor", model=model)]
    return reward_functions(functions, model_folder=lambda _: folder / "reward")


def ours(generator: Any, scorers: list[Any], prompts: list[Any]) -> Any:
    """Do it as the Job does: sample, estimate the divergence, score."""
    from palm_evaluator.evaluation import scored
    from palm_evaluator.generation import Sampling

    sampling = Sampling(SAMPLES, LONGEST, seed=0)
    sampled = generator.sampled([item.prompt for item in prompts], sampling)
    return scored(scorers, prompts=prompts, sampled=sampled)


@cache
def bare_judge(folder: Path) -> Any:
    """Return the reward model and its tokenizer, loaded once as the evaluator's are."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder / "reward").eval()
    return model, AutoTokenizer.from_pretrained(folder / "reward")


def bare(generator: Any, folder: Path, prompts: list[Any]) -> None:
    """Do it as a script would: ``LLM.generate``, the model on padded batches, a loop."""
    import torch
    from vllm import SamplingParams, TokensPrompt

    from palm_evaluator.generation import generation_ids
    from palm_rewards.verifiable import brevity_if_correct

    engine = generator._policy
    tokenizer = engine.get_tokenizer()
    ids = [generation_ids(tokenizer, item.prompt) for item in prompts]
    parameters = SamplingParams(
        temperature=1.0, n=SAMPLES, max_tokens=LONGEST, stop_token_ids=generator._ends
    )
    outputs = engine.generate(
        [TokensPrompt(prompt_token_ids=row) for row in ids],
        parameters,
        lora_request=generator._adapter,
        use_tqdm=False,
    )
    texts = [one.text for output in outputs for one in output.outputs]
    judge, judge_tokenizer = bare_judge(folder)
    with torch.inference_mode():
        for start in range(0, len(texts), 64):
            part = texts[start : start + 64]
            settings = {"padding": True, "truncation": True, "max_length": 64}
            judge(**judge_tokenizer(part, return_tensors="pt", **settings))
    for output, item in zip(outputs, prompts, strict=True):
        for one in output.outputs:
            count = len(one.token_ids)
            brevity_if_correct(one.text, tokens=count, reference=item.answer, max_tokens=48)


if __name__ == "__main__":
    main()
