"""Which stored lines a log request gets."""

from datetime import UTC, datetime

import pytest

from palm_devcluster.node.logs import LogOptions, log_options, selected

LINES = [
    b"2026-01-01T00:00:01.000000000Z stdout F one",
    b"2026-01-01T00:00:02.000000000Z stderr F two",
    b"2026-01-01T00:00:03.000000000Z stdout P thr",
    b"2026-01-01T00:00:03.500000000Z stdout F ee",
]
NOW = datetime(2026, 1, 1, 0, 0, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, b"one\ntwo\nthree\n"),
        ({"tailLines": "1"}, b"ee\n"),
        ({"tailLines": "0"}, b""),
        ({"limitBytes": "6"}, b"one\ntw"),
        ({"sinceSeconds": "1"}, b"three\n"),
        ({"sinceTime": "2026-01-01T00:00:02Z"}, b"two\nthree\n"),
        ({"sinceTime": "2026-01-01T01:00:02+01:00"}, b"two\nthree\n"),
        ({"timestamps": "true", "limitBytes": "35"}, b"2026-01-01T00:00:01.000000000Z one\n"),
    ],
)
def test_selection(query: dict[str, str], text: bytes) -> None:
    assert b"".join(selected(LINES, log_options(query, NOW))) == text


def test_a_malformed_number_is_refused() -> None:
    with pytest.raises(ValueError, match="ten"):
        log_options({"tailLines": "ten"}, NOW)


def test_defaults_ask_for_everything() -> None:
    assert log_options({}, NOW) == LogOptions()
