"""The objectives, shared by trainer and evaluator so that both judge by the same rewards.

Rewards are raw: no weight, no affine map. Higher is better.
"""

from palm_rewards.responses import Responses
from palm_rewards.scorers import RewardScorer, reward_functions

__all__ = ["Responses", "RewardScorer", "reward_functions"]
