"""Run on vLLM's Python by the tests: one engine, asked several things; prints one line of JSON."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from palm.contract import AdapterSettings
from palm_evaluator.generation import Sampling
from palm_evaluator.with_vllm import VllmGenerator
from palm_store.prompts import parsed_prompts

LONGEST = 8
SAMPLES = 60


def main() -> None:
    base, adapter, prompts_file = map(Path, sys.argv[1:])
    prompts = [item.prompt for item in parsed_prompts(prompts_file.read_bytes(), 6)]
    lora = AdapterSettings(type="LoRA", rank=8)
    generator = VllmGenerator.load(base, adapter, lora, longest=64)
    drawn = generator.sampled(prompts, Sampling(SAMPLES, LONGEST, seed=3))
    again = generator.sampled(prompts[:2], Sampling(4, LONGEST, seed=3))
    further = generator.sampled(prompts[:2], Sampling(2, LONGEST, seed=3, first=2))
    greedy = generator.sampled(prompts, Sampling(1, LONGEST, seed=3, greedy=True))
    alone = VllmGenerator(generator._policy, generator._base, None, generator._ends)
    itself = alone.sampled(prompts[:2], Sampling(4, LONGEST, seed=3))
    rows = {"drawn": drawn, "again": again, "further": further, "greedy": greedy, "self": itself}
    found = {name: [[asdict(i) for i in row] for row in each] for name, each in rows.items()}
    print(f"FOUND {json.dumps(found)}", flush=True)


if __name__ == "__main__":
    main()
