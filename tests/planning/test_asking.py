"""The real request to a server: against real ones, good and bad."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from palm_operator.running import asking
from palm_operator.running.asking import Asker
from palm_operator.serving.standing import Question

KEY = ("ml", "assistant")


class Server:
    """Answers as it is told and remembers what it was asked."""

    def __init__(self) -> None:
        self.code, self.text = 200, '{"choices": [{"text": "2"}]}'
        self.asked: list[dict] = []
        self.url = ""

    async def completions(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        return web.Response(status=self.code, text=self.text)


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    made, application = Server(), web.Application()
    application.router.add_post("/a/v1/completions", made.completions)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    made.url = f"http://127.0.0.1:{port}/a"
    try:
        yield made
    finally:
        await runner.cleanup()


def question(url: str, pod: str = "uid") -> Question:
    return Question(url, ("w0",), ((pod, 0),))


async def eventually(holds) -> None:
    for _ in range(400):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 4 s")


def test_a_completion_is_a_good_answer_and_is_asked_for_once():
    async def scenario() -> None:
        changes: list = []
        asker = Asker(changes.append)
        async with server() as made:
            first = await asker.answers(KEY, {"a": question(made.url)})
            again = await asker.answers(KEY, {"a": question(made.url)})
            assert first["a"].is_good
            assert again == first
            assert made.asked == [{"model": "w0", "prompt": "1", "max_tokens": 1}]
            assert changes == [KEY]
            await asker.answers(KEY, {"a": question(made.url, pod="another")})
            assert len(made.asked) == 2
            await asker.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "text", "told"),
    [
        (503, "no Pod", "answers 503: no Pod"),
        (302, "", "answers 302"),
        (200, "<html>", "is no completion"),
        (200, '{"choices": []}', "is no completion"),
        (200, '{"choices": [' + "1," * 40_000, "is no completion"),
    ],
)
def test_anything_else_is_a_bad_answer_that_says_what_came(code, text, told):
    async def scenario() -> None:
        asker = Asker(lambda _: None)
        async with server() as made:
            made.code, made.text = code, text
            answer = (await asker.answers(KEY, {"a": question(made.url)}))["a"]
            assert not answer.is_good
            assert told in answer.message
            assert len(answer.message) < 400
            await asker.close()

    asyncio.run(scenario())


def test_a_server_that_recovers_is_asked_again_and_its_portfolio_told(monkeypatch):
    monkeypatch.setattr(asking, "_FIRST_PAUSE_SECONDS", 0.05)

    async def scenario() -> None:
        changes: list = []
        asker = Asker(changes.append)
        async with server() as made:
            made.code = 500
            await asker.answers(KEY, {"a": question(made.url)})
            assert changes == [KEY]
            made.code = 200
            await eventually(lambda: len(changes) == 2)
            assert (await asker.answers(KEY, {"a": question(made.url)}))["a"].is_good
            await asker.close()

    asyncio.run(scenario())


def test_new_pods_leave_the_last_answer_until_they_give_theirs(monkeypatch):
    monkeypatch.setattr(asking, "_PATIENCE_SECONDS", 0.1)

    async def scenario() -> None:
        asker = Asker(lambda _: None)
        async with server() as made:
            old = question(made.url)
            await asker.answers(KEY, {"a": old})
            slow = question("http://127.0.0.1:9/never")
            monkeypatch.setattr(asker, "_asked", lambda _: asyncio.sleep(60))
            answer = (await asker.answers(KEY, {"a": slow}))["a"]
            assert (answer.is_good, answer.question) == (True, old)
            await asker.close()

    asyncio.run(scenario())


def test_what_is_not_asked_about_any_more_is_left_alone(monkeypatch):
    monkeypatch.setattr(asking, "_FIRST_PAUSE_SECONDS", 0.02)

    async def scenario() -> None:
        asker = Asker(lambda _: None)
        async with server() as made:
            made.code = 500
            await asker.answers(KEY, {"a": question(made.url)})
            assert await asker.answers(KEY, {}) == {}
            asked = len(made.asked)
            await asyncio.sleep(0.2)
            assert len(made.asked) <= asked + 1
            await asker.close()

    asyncio.run(scenario())


def test_nobody_listening_is_said():
    async def scenario() -> None:
        asker = Asker(lambda _: None)
        answers = await asker.answers(KEY, {"a": question("http://127.0.0.1:1")})
        assert "cannot be reached" in answers["a"].message
        await asker.close()

    asyncio.run(scenario())
