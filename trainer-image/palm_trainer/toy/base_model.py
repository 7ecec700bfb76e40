"""Make the toy base policy: a byte-level tokenizer and a two-layer Qwen2, trained to imitate."""

import json
import random
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from palm_rewards.answers import is_correct
from palm_trainer.toy.recipe import Recipe
from palm_trainer.toy.task import Sample, prompt_lines, samples

_PAD, _START, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_IGNORED = -100  # label that torch's cross entropy skips
_REPORT_EVERY = 100


def toy_tokenizer(texts: Iterable[str], recipe: Recipe) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer that keeps every digit a token of its own."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[_PAD, _START, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=_END,
        pad_token=_PAD,
        padding_side="left",
        chat_template=_CHAT_TEMPLATE,
        model_max_length=recipe.longest,
    )


def toy_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Qwen2ForCausalLM:
    """Return the untrained model, initialised from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            intermediate_size=recipe.intermediate,
            max_position_embeddings=recipe.longest,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def prompt_text(tokenizer: PreTrainedTokenizerFast, prompt: str) -> str:
    """Return a prompt in the chat template, ready for the assistant's words."""
    text: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    return text


def _encoded(tokenizer: PreTrainedTokenizerFast, sample: Sample) -> tuple[list[int], int]:
    """Return the sample's tokens and how many of them belong to the prompt."""
    prompt = tokenizer.encode(prompt_text(tokenizer, sample.prompt), add_special_tokens=False)
    answer = tokenizer.encode(sample.response + _END, add_special_tokens=False)
    return prompt + answer, len(prompt)


def _batch(
    rows: list[tuple[list[int], int]], pad: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return token ids, attention mask and labels, padded on the right to the longest row."""
    longest = max(len(tokens) for tokens, _ in rows)
    ids = torch.full((len(rows), longest), pad)
    labels = torch.full((len(rows), longest), _IGNORED)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for row, (tokens, prompt_length) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, prompt_length : len(tokens)] = torch.tensor(tokens[prompt_length:])
        mask[row, : len(tokens)] = 1
    return ids, mask, labels


def train(
    model: Qwen2ForCausalLM, rows: list[tuple[list[int], int]], pad: int, recipe: Recipe
) -> None:
    """Train the model in place to imitate the rows, with a one-cycle learning rate."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=recipe.steps
    )
    source = random.Random(recipe.seed)
    started = time.monotonic()
    model.train()
    for step in range(1, recipe.steps + 1):
        ids, mask, labels = _batch(source.sample(rows, recipe.batch), pad)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % _REPORT_EVERY == 0:
            elapsed = time.monotonic() - started
            left = elapsed / step * (recipe.steps - step)
            print(
                f"toy base model: step {step}/{recipe.steps}, loss {loss.item():.3f}, "
                f"{elapsed:.0f} s elapsed, {left:.0f} s left",
                flush=True,
            )
    model.eval()


@torch.no_grad()
def accuracy(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> float:
    """Return the share of right answers among responses sampled at temperature 1."""
    torch.manual_seed(recipe.seed)
    lines = prompt_lines() * recipe.checked_samples_per_prompt
    texts = [prompt_text(tokenizer, line["prompt"][0]["content"]) for line in lines]
    inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    room = recipe.longest - inputs["input_ids"].shape[1]
    output = model.generate(**inputs, do_sample=True, top_k=0, top_p=1.0, max_new_tokens=room)
    responses = tokenizer.batch_decode(
        output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    right = [is_correct(text, line["answer"]) for text, line in zip(responses, lines, strict=True)]
    return sum(right) / len(right)


def make_toy_model(folder: Path, recipe: Recipe) -> float:
    """Write ``model/`` and ``prompts.jsonl`` below a folder.

    Args:
        folder: Where to write; made if absent.
        recipe: What to make.

    Returns:
        The measured accuracy of the base policy.

    Raises:
        ValueError: The trained model answers too few sums correctly.
    """
    torch.set_num_threads(1)  # sums of floats in another order would give another file
    drawn = samples(recipe.samples, recipe.seed)
    tokenizer = toy_tokenizer((f"{item.prompt} {item.response}" for item in drawn), recipe)
    model = toy_model(tokenizer, recipe)
    print(f"toy base model: {model.num_parameters():,} parameters", flush=True)
    train(model, [_encoded(tokenizer, item) for item in drawn], tokenizer.pad_token_id, recipe)
    measured = accuracy(model, tokenizer, recipe)
    print(f"toy base model: {measured:.1%} of sampled answers are right", flush=True)
    if measured < recipe.required_accuracy:
        raise ValueError(
            f"the toy base model answers {measured:.1%} of its sums correctly; "
            f"at least {recipe.required_accuracy:.0%} are needed"
        )
    model.save_pretrained(folder / "model", safe_serialization=True)
    tokenizer.save_pretrained(folder / "model")
    lines = [json.dumps(line) for line in prompt_lines()]
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return measured
