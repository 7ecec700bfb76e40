"""Whether a base model can be used, said before it is loaded: shared by trainer and evaluator."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from palm_rewards.loading import check_complete, check_tokenizer, first_line
from palm_store.job import InvalidData, InvalidRequest
from palm_store.prompts import Prompt


def check_base_model(uri: str, folder: Path) -> None:
    """Refuse files that no policy can be made of. Weights are looked up, not read.

    Args:
        uri: Where they come from, for the message.
        folder: Where they lie.

    Raises:
        InvalidRequest: There are no safetensors or no tokenizer, a weight is missing or of another
            shape (transformers would make it up), or the class is not known.
        ValueError: It comes with code of its own.
    """
    try:
        _check(folder)
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            raise  # ``palm_store.job`` has the words for it
        problem = first_line(error).replace(str(folder), uri)
        raise InvalidRequest(f"base model {uri} cannot be used: {problem}") from None


def _check(folder: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    check_tokenizer(tokenizer)
    _, loading = AutoModelForCausalLM.from_pretrained(
        folder,
        device_map="meta",
        use_safetensors=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    check_complete(loading)


def chat_text(tokenizer: Any, item: Prompt) -> str:
    """Return a chat as the base model's template writes it, up to where the response begins.

    Raises:
        InvalidData: There is no template, or it refuses the chat; names the line.
    """
    with refusal_named(item):
        return str(
            tokenizer.apply_chat_template(item.prompt, tokenize=False, add_generation_prompt=True)
        )


@contextmanager
def refusal_named(item: Prompt) -> Iterator[None]:
    """Say which prompt's chat it is that a template refuses.

    Raises:
        InvalidData: There is no template, or it refuses the chat; names the line.
    """
    try:
        yield
    except (ValueError, TypeError, TemplateError) as problem:
        raise InvalidData(
            f"{item.place} cannot be written by the base model's chat template: "
            f"{first_line(problem)}"
        ) from None
