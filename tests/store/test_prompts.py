"""Prompts of every format: what is read, and what is refused with its line."""

from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from palm.contract import PromptSource, StorageLocation, VerifiableReward
from palm.errors import InvalidResult, StoreUnavailable
from palm_rewards.responses import Responses
from palm_rewards.verifiable import verifiable_scores
from palm_store import S3Store
from palm_store.job import InvalidData, fetched_prompts
from palm_store.prompts import Columns, Prompt, check_answers, parsed_prompts, read_prompts
from palm_store.prompts.source import DatasetUri, dataset_uri, matching
from stores import s3_location

CHAT = b'{"prompt": [{"role": "user", "content": "What is 1 + 1?"}], "answer": "2"}\n'
ASKED = [{"role": "user", "content": "What is 1 + 1?"}]


def parquet(**columns: list[Any]) -> bytes:
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_chats_and_answers_are_read() -> None:
    assert parsed_prompts(CHAT, None) == [Prompt(ASKED, "2", "line 1")]


def test_texts_without_answers_are_read_and_other_columns_ignored() -> None:
    content = b'{"prompt": "Hi", "source": "web"}\n\n'
    assert parsed_prompts(content, None) == [Prompt("Hi", None, "line 1")]


def test_numbers_are_answers() -> None:
    content = b'{"prompt": "a", "answer": 18}\n{"prompt": "b", "answer": 0.5}'
    assert [item.answer for item in parsed_prompts(content, None)] == ["18", "0.5"]


def test_whole_numbers_that_became_floats_are_integers_again() -> None:
    """Pandas makes floats of a column of integers with a gap; ExactMatch compares texts."""
    written = {12.0: "12", -3.0: "-3", -0.0: "0", 0.5: "0.5", 1e15: "1" + "0" * 15, 1e300: "1e+300"}
    for kind, prompts in (
        ("Parquet", parquet(prompt=["a"] * len(written), answer=list(written))),
        ("JSON", "".join(f'{{"prompt": "a", "answer": {n!r}}}\n' for n in written).encode()),
    ):
        found = [item.answer for item in parsed_prompts(prompts, None)]
        assert found == list(written.values()), kind
    (gap, whole) = parsed_prompts(parquet(prompt=["a", "b"], answer=[None, 12.0]), None)
    assert (gap.answer, whole.answer) == (None, "12")
    exact = verifiable_scores("exact", VerifiableReward(type="ExactMatch"))
    said = Responses(prompts=["b"], texts=["12"], token_counts=[1], answers=[whole.answer])
    assert exact(said) == [1.0]


def test_a_text_stays_as_it_was_written() -> None:
    content = b'{"prompt": "a", "answer": "12.0"}'
    assert parsed_prompts(content, None)[0].answer == "12.0"


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    content = b"\xef\xbb\xbf\r\n" + CHAT.replace(b"\n", b"\r\n") + b"\n" + CHAT
    assert [item.place for item in parsed_prompts(content, None)] == ["line 2", "line 4"]


def test_a_limit_keeps_the_first_prompts_and_does_not_look_further() -> None:
    assert len(parsed_prompts(CHAT * 5 + b"{not json}", 3)) == 3


def test_columns_are_chosen() -> None:
    content = b'{"question": "a", "solution": "b", "prompt": 1}'
    columns = Columns(prompt="question", answer="solution")
    assert parsed_prompts(content, None, columns) == [Prompt("a", "b", "line 1")]


def test_parquet_is_read_by_what_it_is() -> None:
    content = parquet(prompt=[ASKED, ASKED], answer=["2", None], other=[1, 2])
    assert parsed_prompts(content, None) == [
        Prompt(ASKED, "2", "row 1"),
        Prompt(ASKED, None, "row 2"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there are no prompts"),
        (b"\n\n", "there are no prompts"),
        (CHAT + b"{not json}", "line 2 is not JSON: .* at column 2"),
        (CHAT + b"[1]", "line 2 is a list; it must be an object"),
        (CHAT + b"7", "line 2 is a number; it must be an object"),
        (b'{"answer": "2"}', "line 1 has no 'prompt'; it has 'answer'"),
        (b'{"prompt": ""}', "line 1, 'prompt' is empty"),
        (b'{"prompt": " \\n"}', "line 1, 'prompt' is empty"),
        (b'{"prompt": null}', "line 1, 'prompt' is null; it must be a text or a list"),
        (b'{"prompt": []}', "line 1, 'prompt' is an empty list"),
        (b'{"prompt": ["a"]}', "message 1 is a text; it must be an object with role and content"),
        (b'{"prompt": [{"role": "user"}]}', "message 1 has no text under 'content'"),
        (b'{"prompt": [{"role": "bot", "content": "a"}]}', "role 'bot'; it must be one of system"),
        (
            b'{"prompt": [{"role": "user", "content": "a", "weight": 1}]}',
            "message 1 has 'weight'; a message has role and content only",
        ),
        (
            b'{"prompt": [{"role": "assistant", "content": "a"}]}',
            "ends with a message of 'assistant'; the last must be of 'user'",
        ),
        (b'{"prompt": "a", "answer": [1]}', "line 1, 'answer' is a list; it must be a text or a"),
        (b'{"prompt": "a", "answer": true}', "line 1, 'answer' is a boolean"),
        (b'{"prompt": "a", "answer": NaN}', "line 1, 'answer' is nan; it must be a text or"),
        (b'{"prompt": "a", "answer": 1e999}', "line 1, 'answer' is inf"),
        (CHAT + b'{"prompt": ' + b"1" * 5_000 + b"}", "line 2 has a number of more than 4,300"),
        (CHAT + b'{"prompt": "text"}', "line 1 is chat messages and line 2 is a text"),
        (CHAT + b'{"prompt": "caf\xe9"}', "line 2 is not UTF-8: byte 0xe9 at position 16"),
        (CHAT.decode().encode("utf-16"), "the file is UTF-16; it must be UTF-8"),
        (b'{"prompt": "\\ud800"}', "half of a surrogate pair"),
        (b"\x1f\x8b\x08rest", "the file is compressed"),
        (b'{"prompt": "' + b"a" * 2_000_000 + b'"}', "2,000,000 characters; at most 1,048,576"),
        (b'{"prompt": "' + b"a" * 5_000_000 + b'"}', "line 1 has 5,000,014 bytes; at most"),
        (b'{"a":' * 200_000, "line 1 is (nested too deeply|not JSON)"),
        (b"PAR1 and nothing else", "the file is not Parquet"),
        (parquet(question=["a"]), "the file has no column 'prompt'; it has 'question'"),
        (parquet(prompt=["a", None]), "row 2, 'prompt' is null"),
        (parquet(prompt=["a"])[:-9], "the file is not Parquet"),
        (parquet(prompt=["a", "b"], answer=[1.0, float("nan")]), "row 2, 'answer' is nan"),
    ],
)
def test_a_bad_file_is_refused_with_the_line(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parsed_prompts(content, None)


def test_too_many_prompts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palm_store.prompts.reading.MAX_PROMPTS", 4)
    with pytest.raises(ValueError, match="more than 4 prompts; set a limit"):
        parsed_prompts(CHAT * 5, None)
    assert len(parsed_prompts(CHAT * 5, 4)) == 4


def test_parquet_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palm_store.prompts.parquet.MAX_UNPACKED_BYTES", 10_000)
    with pytest.raises(ValueError, match="the prompts unpack to"):
        parsed_prompts(parquet(prompt=[f"{i} " + "a" * 20_000 for i in range(10)]), None)


def test_a_text_that_is_stored_once_counts_as_often_as_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = pa.array(["a" * 5_000] * 10)
    for texts in (plain, plain.dictionary_encode()):
        content = parquet(prompt=texts)
        assert len(content) < 5_000
        monkeypatch.setattr("palm_store.prompts.parquet.MAX_UNPACKED_BYTES", 60_000)
        assert len(parsed_prompts(content, None)) == 10
        monkeypatch.setattr("palm_store.prompts.parquet.MAX_UNPACKED_BYTES", 20_000)
        with pytest.raises(ValueError, match=r"the prompts unpack to 2[05],"):
            parsed_prompts(content, None)


def test_a_reward_that_compares_needs_an_answer_in_every_line() -> None:
    prompts = parsed_prompts(CHAT + b'\n{"prompt": [{"role": "user", "content": "b"}]}' + b"\n", 9)
    check_answers(prompts, [])
    check_answers(prompts[:1], ["brevity"])
    with pytest.raises(ValueError, match="line 3 has no answer; reward 'brevity' compares"):
        check_answers(prompts, ["brevity"])


def test_a_dataset_is_pinned_and_names_its_file() -> None:
    uri = "hf://datasets/openai/gsm8k@e53f048/main/train-*.parquet"
    assert dataset_uri(uri) == DatasetUri("openai/gsm8k", "e53f048", "main/train-*.parquet")
    for wrong in ("hf://openai/gsm8k@e53f048", "hf://datasets/openai/gsm8k/main/train.parquet"):
        with pytest.raises(ValueError, match="is neither s3://bucket/key nor hf://datasets/"):
            dataset_uri(wrong)


def test_a_dataset_whose_server_does_not_answer_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    prompts = PromptSource(uri="hf://datasets/org/name@main/train.jsonl")
    with pytest.raises(StoreUnavailable, match="hf://datasets/org/name@main: ConnectError"):
        read_prompts(prompts, StorageLocation(bucket="b"))


def test_a_star_stands_for_part_of_a_name() -> None:
    names = ["data/train-2.parquet", "data/train-1.parquet", "data/test-1.parquet",
             "data/train-old/x.parquet"]  # fmt: skip
    assert matching(names, "data/train-*.parquet") == [
        "data/train-1.parquet",
        "data/train-2.parquet",
    ]


@pytest.fixture
def storage(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> StorageLocation:
    return s3_location(cluster, "prompts", monkeypatch)


def source(storage: StorageLocation, name: str, **rest: Any) -> PromptSource:
    return PromptSource(uri=f"s3://{storage.bucket}/{storage.prefix}/{name}", **rest)


@pytest.mark.cluster
def test_files_of_s3_are_read_in_the_order_of_their_names(storage: StorageLocation) -> None:
    store = S3Store(storage)
    store.write("part-2.jsonl", b'{"prompt": "c"}')
    store.write("part-1.parquet", parquet(prompt=["a", "b"]))
    store.write("other.jsonl", b"{not json}")
    found = read_prompts(source(storage, "part-*"), storage).prompts
    assert [item.prompt for item in found] == ["a", "b", "c"]
    assert [item.place for item in found][1:] == ["part-1.parquet, row 2", "part-2.jsonl, line 1"]
    assert len(read_prompts(source(storage, "part-*", limit=1), storage).prompts) == 1


@pytest.mark.cluster
def test_what_is_not_there_or_cannot_be_used_is_bad_data(
    storage: StorageLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    S3Store(storage).write("broken.jsonl", CHAT + b"{not json}")
    for name, says in (("broken.jsonl", "line 2 is not JSON"), ("absent", "there is no object"),
                       ("absent-*", "there is no file")):  # fmt: skip
        with pytest.raises(InvalidData, match=says):
            fetched_prompts(source(storage, name), storage)
    monkeypatch.setattr("palm_store.prompts.source.MAX_PROMPTS_BYTES", 10)
    with pytest.raises(InvalidResult, match="at most 10"):
        read_prompts(source(storage, "broken.jsonl"), storage)
    with pytest.raises(InvalidResult, match="at most 10"):
        read_prompts(source(storage, "broken*"), storage)
