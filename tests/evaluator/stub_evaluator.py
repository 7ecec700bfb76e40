"""The evaluator's command with a generator that needs no model, to see what it stores."""

import os
import sys
import time

import palm_evaluator.__main__ as evaluator
from palm_evaluator.generation import Sampled, Sampling


class Stub:
    """Says the same to everybody, after ``STUB_SECONDS``."""

    engine = "Transformers"
    estimator = "exact"

    def sampled(self, prompts: list[str], sampling: Sampling) -> list[list[Sampled]]:
        print("sampling", flush=True)
        time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
        row = [Sampled("Answer: 7", 3, 0.5)] * sampling.samples_per_prompt
        return [row for _ in prompts]


if __name__ == "__main__":
    evaluator.loaded_generator = lambda *_, **__: Stub()
    sys.exit(evaluator.main())
