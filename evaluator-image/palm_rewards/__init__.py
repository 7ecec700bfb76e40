"""The objectives, shared by trainer and evaluator so that both judge by the same rewards.

Rewards are raw: no weight, no affine map. Higher is better. ``reward`` marks a function of the
user's own as one (docs/rewards.md).
"""

from palm_rewards.entrypoint import reward
from palm_rewards.responses import Responses
from palm_rewards.scorers import RewardScorer, needs_answer, reward_functions

__all__ = ["Responses", "RewardScorer", "needs_answer", "reward", "reward_functions"]
