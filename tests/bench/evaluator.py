"""The evaluator's throughput against bare ``LLM.generate`` and bare scoring, on the same prompts.

Runs itself on vLLM's Python. Both do the same work: responses to the toy's prompts from one engine
that is warm, then their rewards by a small reward model and a program. Of a trained policy the
evaluator estimates its divergence too: the log-probability of every token, and another pass over
every response by the base policy. That is held against a script that does so, and against one that
only samples and scores.

Prints ``name: value`` lines. The ways take turns, in another order each round, and a ratio is the
median over rounds of one round's two times, with its quartiles: other load of the machine meets
both alike. The last line says whether the goal, 0.9 of bare, is reached.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PROMPTS, SAMPLES, LONGEST, ROUNDS = 100, 8, 48, 15
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
    """Measure all ways on one engine, turn by turn, and print how they compare."""
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
        "bare_adapter_with_k1": lambda: bare(loaded, folder, prompts, k1=True),
        "evaluator_adapter": lambda: ours(loaded, scorers, prompts),
    }
    for way in ways.values():  # all warm
        way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for _ in range(ROUNDS):
        for name in order:
            times[name].append(timed(ways[name]))
        order = order[1:] + order[:1]
    for name, seconds in times.items():
        print(f"{name}_seconds: {json.dumps([round(t, 2) for t in seconds])}")
        print(f"{name}_responses_per_second: {PROMPTS * SAMPLES / median(seconds):.1f}")
    for script in ("bare_adapter", "bare_adapter_with_k1"):
        low, middle, high = ratios(times[script], times["evaluator_adapter"])
        print(f"evaluator_adapter_of_{script}: {middle:.3f} (quartiles {low:.3f}, {high:.3f})")
    low, middle, high = ratios(times["bare"], times["evaluator"])
    reached = "at least" if middle >= GOAL else "below"
    print(f"evaluator_ratio: {middle:.3f} (quartiles {low:.3f}, {high:.3f}; {reached} {GOAL})")


def ratios(bare_seconds: list[float], our_seconds: list[float]) -> list[float]:
    """Return the quartiles of how fast ours is, bare being 1, round by round."""
    return quantiles([a / b for a, b in zip(bare_seconds, our_seconds, strict=True)], n=4)


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


def bare(generator: Any, folder: Path, prompts: list[Any], *, k1: bool = False) -> None:
    """Do it as a script would: ``LLM.generate``, the model on padded batches, a loop."""
    import torch
    from vllm import SamplingParams, TokensPrompt

    from palm_evaluator.generation import generation_ids
    from palm_rewards.verifiable import brevity_if_correct

    engine = generator._policy
    tokenizer = engine.get_tokenizer()
    ids = [generation_ids(tokenizer, item.prompt) for item in prompts]
    parameters = SamplingParams(
        temperature=1.0,
        n=SAMPLES,
        max_tokens=LONGEST,
        stop_token_ids=generator._ends,
        logprobs=0 if k1 else None,
    )
    outputs = engine.generate(
        [TokensPrompt(prompt_token_ids=row) for row in ids],
        parameters,
        lora_request=generator._adapter,
        use_tqdm=False,
    )
    if k1:
        bare_divergences(engine, outputs)
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


def bare_divergences(engine: Any, outputs: list[Any]) -> list[float]:
    """Return each response's log-ratio, scored again without the adapter."""
    from vllm import SamplingParams, TokensPrompt

    responses = [(output.prompt_token_ids, one) for output in outputs for one in output.outputs]
    scored = engine.generate(
        [TokensPrompt(prompt_token_ids=[*prompt, *one.token_ids]) for prompt, one in responses],
        SamplingParams(max_tokens=1, prompt_logprobs=0),
        use_tqdm=False,
    )
    return [
        sum(
            here[token].logprob - there[token].logprob
            for token, here, there in zip(
                one.token_ids, one.logprobs, again.prompt_logprobs[len(prompt) :], strict=True
            )
        )
        for (prompt, one), again in zip(responses, scored, strict=True)
    ]


if __name__ == "__main__":
    main()
