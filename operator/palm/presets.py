"""The paper's six reward models: how each is to be read, and under which license it comes.

A preset fills in what a Portfolio leaves out of ``rewards[].model``. It names no revision: whoever
uses a model pins the commit that was read. Sources of the formats: the models' cards, and the code
of Rewards-in-Context and MOD that the paper evaluates with.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

PresetName = Literal[
    "SkyworkLlama",
    "BeaverReward",
    "BeaverCost",
    "GPT2Helpful",
    "GPT2Harmless",
    "Humor",
]


@dataclass(frozen=True)
class Preset:
    """One reward model of the paper."""

    repository: str
    """Its name on Hugging Face."""
    objective: str
    """What it stands for in the paper."""
    license: str
    """As its author says; not legal advice."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Fields of ``ModelReward`` that differ from their defaults."""


_BEAVER = {
    "architecture": "ScoreHead",
    "template": "Format",
    # No space after the last colon: the response is what follows it.
    "format": "BEGINNING OF CONVERSATION: USER: {prompt} ASSISTANT:{response}",
    "max_length": 2048,
}
_HUMAN_ASSISTANT = {
    "template": "Pair",
    "format": "\n\nHuman: {prompt} \n\nAssistant:",
    "max_length": 1024,
    "stop_strings": ("\n\nHuman:",),
}
_ON_ITS_CARD = "as its model card says, which was not read for this table"
_NON_COMMERCIAL = "non-commercial (the model card); the base is LLaMA"

PRESETS: dict[PresetName, Preset] = {
    "SkyworkLlama": Preset(
        "Skywork/Skywork-Reward-Llama-3.1-8B",
        "helpfulness (RLVR)",
        "Skywork Community License (a file of the repository); the base is Llama 3.1",
        {"template": "Chat", "max_length": 4096},
    ),
    "BeaverReward": Preset(
        "PKU-Alignment/beaver-7b-v1.0-reward",
        "helpfulness (safety alignment)",
        _NON_COMMERCIAL,
        _BEAVER,
    ),
    "BeaverCost": Preset(
        "PKU-Alignment/beaver-7b-v1.0-cost",
        "harmlessness (safety alignment)",
        _NON_COMMERCIAL,
        # A cost: positive means harmful.
        {**_BEAVER, "sign": "Negative"},
    ),
    "GPT2Helpful": Preset(
        "Ray2333/gpt2-large-helpful-reward_model",
        "helpfulness (helpful assistant)",
        _ON_ITS_CARD,
        _HUMAN_ASSISTANT,
    ),
    "GPT2Harmless": Preset(
        "Ray2333/gpt2-large-harmless-reward_model",
        "harmlessness (helpful assistant)",
        _ON_ITS_CARD,
        _HUMAN_ASSISTANT,
    ),
    "Humor": Preset(
        "mohameddhiab/humor-no-humor",
        "humor (helpful assistant)",
        _ON_ITS_CARD,
        # Two labels; the raw logit of the second, as in Rewards-in-Context.
        {
            "template": "Response",
            "label_index": 1,
            "max_length": 512,
            "stop_strings": ("\n\nHuman:",),
        },
    ),
}
