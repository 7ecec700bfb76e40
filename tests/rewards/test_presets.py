"""The paper's six reward models: each preset against the class and format that it stands for.

The models are tiny and random, but their classes and their inputs' formats are those of the real
ones; what a preset gives is held against the model called as its card calls it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palm.contract import ModelReward, RewardFunction
from palm.presets import PRESETS, PresetName
from palm_operator.api.rewards import RewardModel
from palm_rewards import Responses, reward_functions
from reward_models import (
    distilbert_classifier,
    gpt2_classifier,
    llama_classifier,
    llama_with_score_head,
)

pytestmark = pytest.mark.model

PROMPTS = ["hello", "what is the sum ?", "is seven good ?"]
TEXTS = ["seven", "the answer is very very bad . eight nine !", "good"]
Made = Callable[[str, Callable[[Path], Path]], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folders: dict[str, Path] = {}

    def folder(name: str, make: Callable[[Path], Path]) -> Path:
        if name not in folders:
            folders[name] = make(tmp_path_factory.mktemp("models") / name)
        return folders[name]

    return folder


def resolved(preset: PresetName, **fields: Any) -> ModelReward:
    return RewardModel.model_validate(
        {"uri": "s3://models/x", "preset": preset, **fields}
    ).resolved()


def rewards(folder: Path, reward: ModelReward, texts: list[str] = TEXTS) -> list[float]:
    (scorer,) = reward_functions(
        [RewardFunction(name="wish", model=reward)], model_folder=lambda _: folder
    )
    count = len(texts)
    return scorer(
        Responses(
            prompts=PROMPTS[:count],
            texts=texts,
            token_counts=[1] * count,
            answers=[None] * count,
        )
    )


def classified(folder: Path, label: int, ids: Callable[[Any, str, str], Any]) -> list[float]:
    """What a sequence classifier gives each pair alone, without padding."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model.config.pad_token_id = None  # then it reads the last token
    with torch.inference_mode():
        return [
            float(model(torch.tensor([ids(tokenizer, prompt, text)])).logits[0][label])
            for prompt, text in zip(PROMPTS, TEXTS, strict=True)
        ]


def test_skywork_reads_its_chat_template_to_the_end_without_a_second_beginning(made: Made) -> None:
    folder = made("llama", llama_classifier)

    def ids(tokenizer: Any, prompt: str, text: str) -> Any:
        chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
        found = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=True)["input_ids"]
        assert found.count(tokenizer.bos_token_id) == 1
        assert found[-1] == tokenizer.eos_token_id
        return found

    got = rewards(folder, resolved("SkyworkLlama"))
    assert got == pytest.approx(classified(folder, 0, ids), abs=1e-4)
    assert len(set(got)) == 3


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("preset", "sign"), [("BeaverReward", 1.0), ("BeaverCost", -1.0)])
def test_beaver_scores_the_last_token_of_its_conversation(
    made: Made, preset: PresetName, sign: float, bias: bool
) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    folder = made(f"beaver-{bias}", lambda path: llama_with_score_head(path, bias=bias))
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    expected = []
    for prompt, text in zip(PROMPTS, TEXTS, strict=True):
        written = f"BEGINNING OF CONVERSATION: USER: {prompt} ASSISTANT:{text}"
        with torch.inference_mode():
            hidden = model(**tokenizer(written, return_tensors="pt")).last_hidden_state[0, -1]
        score = hidden @ tensors["score_head.weight"][0] + (5.0 if bias else 0.0)
        expected.append(sign * float(score))
    assert rewards(folder, resolved(preset)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("preset", ["GPT2Helpful", "GPT2Harmless"])
def test_gpt2_reads_a_pair_of_human_and_assistant(made: Made, preset: PresetName) -> None:
    folder = made("gpt2", gpt2_classifier)

    def ids(tokenizer: Any, prompt: str, text: str) -> Any:
        return tokenizer(f"\n\nHuman: {prompt} \n\nAssistant:", text)["input_ids"]

    got = rewards(folder, resolved(preset))
    assert got == pytest.approx(classified(folder, 0, ids), abs=1e-4)


def test_humor_reads_the_response_alone_and_its_second_label(made: Made) -> None:
    folder = made("humor", distilbert_classifier)
    got = rewards(folder, resolved("Humor"))
    alone = classified(folder, 1, lambda tokenizer, _, text: tokenizer(text)["input_ids"])
    assert got == pytest.approx(alone, abs=1e-4)


def test_a_reply_is_cut_where_the_next_turn_begins(made: Made) -> None:
    folder = made("gpt2", gpt2_classifier)
    clean = rewards(folder, resolved("GPT2Helpful"), ["seven"])
    going_on = rewards(folder, resolved("GPT2Helpful"), ["seven\n\nHuman: what is bad"])
    assert going_on == pytest.approx(clean)


def test_what_a_portfolio_says_beside_a_preset_wins() -> None:
    reward = resolved("BeaverCost", maxLength=64, sign="Positive", stopStrings=["###"])
    assert (reward.max_length, reward.sign, reward.stop_strings) == (64, "Positive", ("###",))
    assert reward.architecture == "ScoreHead"
    assert resolved("GPT2Helpful", template="Response").format is None


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_says_whose_model_it_is_and_under_which_license(preset: PresetName) -> None:
    found = PRESETS[preset]
    assert found.repository.count("/") == 1
    assert found.license
    resolved(preset)


def test_a_base_model_without_a_head_is_no_reward_model(made: Made, tmp_path: Path) -> None:
    """transformers would make up the missing weights, and every reward with them."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = made("llama", llama_classifier)
    AutoModelForSequenceClassification.from_pretrained(folder).model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"reward 'wish': .*its files lack score\.weight"):
        rewards(tmp_path, ModelReward(uri="s3://models/x"))
    with pytest.raises(ValueError, match=r"its files lack score_head\.weight"):
        rewards(tmp_path, resolved("BeaverReward"))
