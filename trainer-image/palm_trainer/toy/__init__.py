"""The toy task: adding two digits in as many words as the policy likes.

A response is any subset, in order, of four worked steps, and then the answer. Brevity wants no
steps, helpfulness (``ArithmeticSteps``) wants all of them: the two pull apart, so different
weight vectors have different best policies, and a model of 150 000 parameters shows it on a CPU.

``task`` is the language, ``recipe`` the constants, ``base_model`` makes the base policy by
supervised training, ``cache`` keeps it, and ``python -m palm_trainer.toy [--output DIR]`` is the
command.
"""

from palm_trainer.toy.cache import cached_toy_model

__all__ = ["cached_toy_model"]
