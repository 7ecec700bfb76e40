"""The real code path of Hugging Face reward models, on a random one of a few thousand weights."""

from pathlib import Path

import pytest

from palm.contract import ModelReward, RewardFunction
from palm_rewards import Responses, reward_functions

pytestmark = pytest.mark.model

WORDS = [
    "what",
    "is",
    "the",
    "sum",
    "answer",
    "seven",
    "eight",
    "nine",
    "good",
    "bad",
    "very",
    "user",
    "assistant",
]
RESPONSES = Responses(
    prompts=["what is the sum", [{"role": "user", "content": "what is good"}]] * 10,
    texts=["answer seven", "very very bad answer"] * 10,
    token_counts=[2, 4] * 10,
    answers=[None] * 20,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("reward-model")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        chat_template="{% for m in messages %}{{ m['content'] + ' ' }}{% endfor %}",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=2,
        initializer_range=0.5,
        pad_token_id=0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def scores(folder: Path, **settings: object) -> list[float]:
    reward = ModelReward.model_validate({"uri": "s3://models/reward", **settings})
    function = RewardFunction(name="kindness", model=reward)
    (scorer,) = reward_functions([function], model_folder=lambda _: folder)
    return scorer(RESPONSES)


@pytest.mark.parametrize("template", ["Chat", "Pair", "Response"])
def test_equal_responses_have_equal_rewards_whatever_their_batch(
    folder: Path, template: str
) -> None:
    rewards = scores(folder, template=template)
    assert len(rewards) == 20
    assert rewards[::2] == pytest.approx([rewards[0]] * 10, abs=1e-5)
    assert rewards[1::2] == pytest.approx([rewards[1]] * 10, abs=1e-5)
    assert rewards[0] != pytest.approx(rewards[1], abs=1e-3)


def test_a_response_template_does_not_read_the_prompt(folder: Path) -> None:
    assert scores(folder, template="Response") != pytest.approx(scores(folder, template="Pair"))


def test_a_negative_sign_turns_a_cost_into_a_reward(folder: Path) -> None:
    positive, negative = scores(folder), scores(folder, sign="Negative")
    assert negative == pytest.approx([-value for value in positive])


def test_softmax_over_two_labels_sums_to_one(folder: Path) -> None:
    first, second = (scores(folder, activation="Softmax", labelIndex=index) for index in (0, 1))
    assert [a + b for a, b in zip(first, second, strict=True)] == pytest.approx([1.0] * 20)


def test_sigmoid_lies_between_zero_and_one(folder: Path) -> None:
    assert all(0 < value < 1 for value in scores(folder, activation="Sigmoid"))


def test_a_long_input_loses_its_beginning(folder: Path) -> None:
    from palm_rewards.reward_model import RewardModel

    reward = ModelReward(uri="s3://models/reward", template="Response", max_length=8)
    loaded = RewardModel.load(folder, reward)
    long = "bad " * 40 + "good good good good good good"
    both = Responses(
        prompts=["", ""], texts=[long, long[4:]], token_counts=[1, 1], answers=[None, None]
    )
    first, second = loaded.scores(both)
    assert first == pytest.approx(second)


def test_a_label_that_the_model_lacks_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"labelIndex 2 .* the model has 2 labels"):
        scores(folder, labelIndex=2)


def test_a_model_saved_as_a_pickle_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    import torch

    shutil.copytree(folder, tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"reward 'kindness': .*safetensors"):
        scores(tmp_path / "pickled")


def test_a_long_input_loses_its_end_where_that_is_wanted(folder: Path) -> None:
    from palm_rewards.reward_model import RewardModel

    reward = ModelReward(
        uri="s3://models/reward", template="Response", max_length=8, truncation_side="Right"
    )
    long = "good good good good good good " + "bad " * 40
    both = Responses(
        prompts=["", ""], texts=[long, long[:-4]], token_counts=[1, 1], answers=[None, None]
    )
    first, second = RewardModel.load(folder, reward).scores(both)
    assert first == pytest.approx(second)


def test_an_input_longer_than_the_model_takes_is_cut_whatever_max_length_says(folder: Path) -> None:
    from palm_rewards.reward_model import RewardModel

    reward = ModelReward(uri="s3://models/reward", template="Response", max_length=4096)
    (score,) = RewardModel.load(folder, reward).scores(
        Responses(prompts=[""], texts=["very " * 500], token_counts=[1], answers=[None])
    )
    assert score == score  # finite: positions beyond 64 are not there


def test_an_empty_response_has_a_reward(folder: Path) -> None:
    from palm_rewards.reward_model import RewardModel

    reward = ModelReward(uri="s3://models/reward", template="Response")
    found = RewardModel.load(folder, reward).scores(
        Responses(prompts=["", ""], texts=["", "good"], token_counts=[1, 1], answers=[None, None])
    )
    assert len(found) == 2


def test_a_model_that_comes_with_code_is_refused(folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    shutil.copytree(folder, tmp_path / "coded")
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "evil"
    config["auto_map"] = {
        "AutoConfig": "evil.EvilConfig",
        "AutoModelForSequenceClassification": "evil.Evil",
    }
    (tmp_path / "coded" / "config.json").write_text(json.dumps(config))
    (tmp_path / "coded" / "evil.py").write_text("raise SystemExit('the code was run')")
    with pytest.raises(ValueError, match=r"reward 'kindness': .*cannot be loaded"):
        scores(tmp_path / "coded")


def copied(folder: Path, tmp_path: Path, *, labels_said: int, labels_there: int) -> Path:
    """The model with a head of so many labels, and a configuration that says another number."""
    import json
    import shutil

    from safetensors.torch import load_file, save_file

    target = Path(shutil.copytree(folder, tmp_path / "copied"))
    config = json.loads((target / "config.json").read_text())
    labels = {str(number): f"L{number}" for number in range(labels_said)}
    numbers = {label: int(number) for number, label in labels.items()}
    config |= {"id2label": labels, "label2id": numbers}
    (target / "config.json").write_text(json.dumps(config))
    tensors = load_file(target / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = tensors[name][:labels_there].clone()
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_a_head_of_another_shape_is_named_and_not_made_up(folder: Path, tmp_path: Path) -> None:
    broken = copied(folder, tmp_path, labels_said=3, labels_there=2)
    with pytest.raises(ValueError, match=r"reward 'kindness': .*config.json says: .*classifier"):
        scores(broken)


def test_softmax_of_a_single_label_is_no_reward(folder: Path, tmp_path: Path) -> None:
    single = copied(folder, tmp_path, labels_said=1, labels_there=1)
    assert len(scores(single, activation="Sigmoid")) == 20
    with pytest.raises(ValueError, match="Softmax of its only label is 1"):
        scores(single, activation="Softmax")


def test_a_file_that_was_cut_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = copied(folder, tmp_path, labels_said=2, labels_there=2)
    file = broken / "model.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"reward 'kindness': .*header"):
        scores(broken)


def test_a_model_without_its_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = copied(folder, tmp_path, labels_said=2, labels_there=2)
    (broken / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"reward 'kindness': .*cannot be loaded"):
        scores(broken)
