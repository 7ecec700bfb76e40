"""Settings from the environment, the work queue, probes."""

import asyncio

import pytest

from palm_operator.health import Health
from palm_operator.queue import WorkQueue
from palm_operator.settings import settings_from


def test_settings_have_defaults_and_read_every_variable():
    assert settings_from({}).resync_seconds == 300
    made = settings_from(
        {
            "PALM_STORAGE_ENDPOINTS": '["http://s3:9000"]',
            "PALM_WATCH_NAMESPACES": "a, b",
            "PALM_HTTP_PORT": "0",
            "PALM_LOG_FORMAT": "json",
        }
    )
    assert made.allows("http://s3:9000")
    assert made.allows("")
    assert not made.allows("http://other")
    assert made.namespaces == ("a", "b")
    assert (made.http_port, made.log_format) == (0, "json")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PALM_STORAGE_ENDPOINTS", "http://s3:9000"),
        ("PALM_STORAGE_ENDPOINTS", "[1]"),
        ("PALM_RESYNC_SECONDS", "often"),
        ("PALM_RESYNC_SECONDS", "0"),
        ("PALM_LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(variable, value):
    with pytest.raises(ValueError, match=variable) as error:
        settings_from({variable: value})
    assert repr(value) in str(error.value)


def test_reasons_are_gathered_and_a_key_is_never_worked_on_twice_at_once():
    async def scenario():
        running, most, passes = 0, 0, []

        async def work(key):
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.02)
            running -= 1
            passes.append(key)
            return False

        queue = WorkQueue(work, debounce=0.01)
        for _ in range(10):
            queue.add(("ns", "a"))
        await asyncio.sleep(0.02)
        queue.add(("ns", "a"))  # while the first pass runs
        await asyncio.sleep(0.2)
        await queue.stop()
        return most, passes

    most, passes = asyncio.run(scenario())
    assert most == 1
    assert len(passes) == 2


def test_a_failed_pass_is_tried_again():
    async def scenario():
        passes = []

        async def work(key):
            passes.append(key)
            if len(passes) == 1:
                raise RuntimeError("once")
            return len(passes) == 2

        queue = WorkQueue(work, debounce=0.01)
        queue.add(("ns", "a"))
        await asyncio.sleep(1)
        await queue.stop()
        return len(passes)

    assert asyncio.run(scenario()) == 3


def test_a_process_that_cannot_list_is_not_alive():
    now = [0.0]
    health = Health(100, clock=lambda: now[0])
    assert health.is_alive
    assert not health.is_ready
    health.listed()
    assert health.is_ready
    now[0] = 301
    assert not health.is_alive
