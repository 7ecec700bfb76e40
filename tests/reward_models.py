"""Tiny reward models of the classes that the paper's are of, made from nothing."""

from pathlib import Path
from typing import Any

_PLAIN = "what is the sum answer seven eight nine good bad very user assistant hello"
_MARKED = "Human Assistant BEGINNING OF CONVERSATION USER ASSISTANT : . , ? !"
WORDS = tuple(f"{_PLAIN} {_MARKED}".split(" "))
CHAT = "<s>{% for m in messages %}{{ m['role'] + ' : ' + m['content'] + ' </s>' }}{% endfor %}"


def word_tokenizer(*, encoder: bool, pad: str | None = "<pad>", chat: str | None = CHAT) -> Any:
    """A tokenizer of a few words; an encoder's frames its texts, a decoder's begins them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<unk>", "<s>", "</s>"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    frame = ("<s> $A </s>", "<s> $A </s> $B </s>") if encoder else ("<s> $A", "<s> $A $B")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=frame[0], pair=frame[1], special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=chat,
    )


def _decoder(**changes: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(WORDS) + 4,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 128,
        "initializer_range": 0.5,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "pad_token_id": None,
        **changes,
    }


def llama_classifier(folder: Path) -> Path:
    """The class of Skywork's: Llama with one label, and no padding token of its own."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    LlamaForSequenceClassification(LlamaConfig(**_decoder(num_labels=1))).save_pretrained(folder)
    word_tokenizer(encoder=False, pad=None).save_pretrained(folder)
    return folder


def llama_with_score_head(folder: Path, *, bias: bool) -> Path:
    """The class of Beaver's: ``model.*`` and ``score_head.*`` in one file."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(0)
    config = LlamaConfig(**_decoder(pad_token_id=0))
    config.architectures = ["LlamaForScore"]
    tensors = {f"model.{n}": t for n, t in LlamaModel(config).state_dict().items()}
    tensors["score_head.weight"] = torch.randn(1, 16)
    if bias:
        tensors["score_head.bias"] = torch.tensor([5.0])
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    word_tokenizer(encoder=False).save_pretrained(folder)
    return folder


def gpt2_classifier(folder: Path) -> Path:
    """The class of Ray2333's: GPT-2 with one label, padded with its end token."""
    import torch
    from transformers import GPT2Config, GPT2ForSequenceClassification

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(WORDS) + 4,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=64,
        num_labels=1,
        initializer_range=0.5,
        bos_token_id=3,
        eos_token_id=3,
        pad_token_id=3,
    )
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    word_tokenizer(encoder=False, pad="</s>", chat=None).save_pretrained(folder)
    return folder


def distilbert_classifier(folder: Path) -> Path:
    """The class of the humor model: DistilBERT with two labels."""
    import torch
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=len(WORDS) + 4,
        dim=16,
        n_layers=1,
        n_heads=2,
        hidden_dim=32,
        max_position_embeddings=64,
        num_labels=2,
        initializer_range=0.5,
        pad_token_id=0,
    )
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    word_tokenizer(encoder=True, chat=None).save_pretrained(folder)
    return folder
