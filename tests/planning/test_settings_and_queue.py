"""Settings from the environment, the work queue, probes."""

import asyncio

import pytest

from palm_operator.running.health import Health
from palm_operator.running.queue import WorkQueue
from palm_operator.settings import settings_from


def test_settings_have_defaults_and_read_every_variable():
    assert settings_from({}).resync_seconds == 300
    made = settings_from(
        {
            "PALM_STORAGE_ENDPOINTS": '["http://s3:9000"]',
            "PALM_WATCH_NAMESPACES": "a, b",
            "PALM_OPERATOR_CLASS": "team",
            "PALM_LEASE": "palm-system/palm-operator",
            "PALM_HTTP_PORT": "0",
            "PALM_LOG_FORMAT": "json",
            "PALM_SERVING_URL": "https://llm.example/{namespace}/{name}",
            "PALM_MAX_POLICIES": "4",
            "PALM_MAX_POLICIES_IN_ALL": "40",
            "PALM_GATEWAY_URL": "https://llm.example/",
            "PALM_GATEWAY_NAMESPACES": "ml",
            "PALM_GATEWAY_DEFAULT_PREFERENCES": '{"ml/assistant": "brevity=1"}',
        }
    )
    assert made.storage.allows_endpoint("http://s3:9000")
    assert made.storage.allows_endpoint("")
    assert not made.storage.allows_endpoint("http://other")
    assert made.namespaces == ("a", "b")
    assert made.lease == ("palm-system", "palm-operator")
    assert made.cares_for({"spec": {"operatorClass": "team"}})
    assert not made.cares_for({"spec": {}})
    assert settings_from({}).cares_for({"spec": {"operatorClass": ""}})
    assert settings_from({"PALM_MAX_POLICIES": "0"}).max_policies is None
    assert (made.max_policies, made.max_policies_in_all) == (4, 40)
    assert settings_from({}).max_policies_in_all is None
    assert (made.http_port, made.log_format) == (0, "json")
    assert (made.gateway_url, made.gateway_namespaces) == ("https://llm.example/v1", ("ml",))
    assert made.gateway_preferences == {"ml/assistant": "brevity=1"}
    for given in ("http://gateway/v1", "http://gateway/v1/", "http://gateway"):
        assert settings_from({"PALM_GATEWAY_URL": given}).gateway_url == "http://gateway/v1"
    assert made.serving_url == "https://llm.example/{namespace}/{name}"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PALM_STORAGE_ENDPOINTS", "http://s3:9000"),
        ("PALM_STORAGE_ENDPOINTS", "[1]"),
        ("PALM_RESYNC_SECONDS", "often"),
        ("PALM_RESYNC_SECONDS", "0"),
        ("PALM_LOG_FORMAT", "xml"),
        ("PALM_LEASE", "palm-operator"),
        ("PALM_MAX_POLICIES", "-1"),
        ("PALM_MAX_POLICIES", "few"),
        ("PALM_MAX_POLICIES_IN_ALL", "some"),
        ("PALM_LEASE", "a/b/c"),
        ("PALM_SERVING_URL", "https://llm.example/{name}"),
        ("PALM_SERVING_URL", "https://llm.example/{namespace}/{name}/{0.__class__}"),
        ("PALM_SERVING_URL", "file:///{namespace}/{name}"),
        ("PALM_GATEWAY_URL", "llm.example"),
        ("PALM_GATEWAY_URL", "https://user:word@llm.example"),
        ("PALM_GATEWAY_DEFAULT_PREFERENCES", "[]"),
        ("PALM_GATEWAY_DEFAULT_PREFERENCES", '{"ml/a": 1}'),
        ("PALM_GATEWAY_DEFAULT_PREFERENCES", '{"ml/a": "x=-1"}'),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(variable, value):
    with pytest.raises(ValueError, match=variable) as error:
        settings_from({variable: value})
    assert repr(value) in str(error.value)


def test_reasons_are_gathered_and_a_key_is_never_worked_on_twice_at_once():
    async def scenario():
        running, most, passes = 0, 0, []
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def work(key):
            nonlocal running, most
            running += 1
            most = max(most, running)
            begun.set()
            await may_end.wait()
            running -= 1
            passes.append(key)

        queue = WorkQueue(work, debounce=0.01)
        for _ in range(10):
            queue.add(("ns", "a"))
        await begun.wait()
        queue.add(("ns", "a"))  # while the first pass runs
        await asyncio.sleep(0.1)
        may_end.set()
        while len(passes) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # a third would come now
        await queue.stop()
        return most, passes

    most, passes = asyncio.run(asyncio.wait_for(scenario(), 60))
    assert most == 1
    assert len(passes) == 2


def test_a_failed_pass_is_tried_again():
    async def scenario():
        passes = []

        async def work(key):
            passes.append(key)
            if len(passes) == 1:
                raise RuntimeError("once")
            return 0 if len(passes) == 2 else None

        queue = WorkQueue(work, debounce=0.01)
        queue.add(("ns", "a"))
        await asyncio.sleep(1)
        await queue.stop()
        return len(passes)

    assert asyncio.run(scenario()) == 3


@pytest.mark.parametrize(
    ("first", "reason_meanwhile", "passes"),
    [(0.1, False, 2), (0.5, True, 2), (60.0, False, 1)],
)
def test_a_pass_due_by_the_clock_comes_unless_a_later_one_says_otherwise(
    first, reason_meanwhile, passes
):
    async def scenario():
        done = []

        async def work(key):
            done.append(key)
            return first if len(done) == 1 else None

        queue = WorkQueue(work, debounce=0.01)
        queue.add(("ns", "a"))
        await asyncio.sleep(0.2)
        if reason_meanwhile:
            queue.add(("ns", "a"))
        await asyncio.sleep(1)
        await queue.stop()
        return len(done)

    assert asyncio.run(scenario()) == passes


def test_a_process_that_cannot_list_is_not_alive():
    now = [0.0]
    health = Health(100, clock=lambda: now[0])
    assert health.is_alive
    assert not health.is_ready
    health.listed()
    assert health.is_ready
    now[0] = 301
    assert not health.is_alive
