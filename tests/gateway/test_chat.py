"""``palm chat --gateway``: the command line against a real gateway, without a cluster."""

import pytest

from cli.invoke import palm
from gateways import WORDS, make_certificate, table_of
from palm_cli.inputs import printable
from routes import config_map

ANSWER = "".join(WORDS)


def chat(gateway, *arguments, model="ml/assistant", stdin=None):
    return palm("chat", model, "--gateway", gateway.url, *arguments, stdin=stdin)


def test_the_answer_streams_to_standard_output_and_who_answers_is_told_beside_it(served, trio):
    ran = chat(served, "--preference", "helpfulness=6,brevity=4", "What is 7 + 8?")
    assert (ran.code, ran.out) == (0, f"{ANSWER}\n")
    assert "[w01-7c1f09, at most 0.02, relative 0.02778 below optimal on the grid" in ran.err
    assert f"by the gateway {served.url}" in ran.err
    ((_, _, content),) = trio[1].seen
    assert b'"stream":true' in content
    assert b"What is 7 + 8?" in content


def test_without_a_preference_the_gateways_default_answers(served):
    assert "[w01-7c1f09; by" in chat(served, "hello").err


def test_the_question_may_come_on_standard_input_and_the_url_without_v1(served):
    bare = served.url.removesuffix("/v1")
    for arguments in ([], ["-"]):
        ran = palm("chat", "assistant", "--gateway", bare, "-n", "ml", "-p", "brevity=1",
                   *arguments, stdin="hello\n")  # fmt: skip
        assert (ran.code, ran.out) == (0, f"{ANSWER}\n")
        assert "[w02-7c1f09" in ran.err


def test_a_policy_that_could_not_answer_is_named(served, trio):
    trio[0].status = 503
    assert "better, but w00-7c1f09=status-503" in chat(served, "-p", "helpfulness=1", "hello").err


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("-p", "funniness=1", "hello"), 2, "helpfulness, brevity"),
        (("-p", "helpfulness", "hello"), 2, "not name=amount"),
        (("--compare", "hello"), 2, "not a --gateway"),
        (("   ",), 2, "MESSAGE is empty"),
    ],
)
def test_a_question_that_cannot_be_answered_is_the_persons_fault(
    served, arguments, code, complaint
):
    ran = chat(served, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert complaint in ran.err


def test_an_unknown_portfolio_and_a_gateway_that_is_not_there_are_named(served):
    ran = chat(served, "hello", model="ml/nobody")
    assert ran.code == 4
    assert "known are ml/assistant" in ran.err
    ran = palm("chat", "ml/assistant", "--gateway", "http://127.0.0.1:1", "hello")
    assert ran.code == 4
    assert "the gateway http://127.0.0.1:1/v1: " in ran.err
    ran = palm("chat", "ml/assistant", "--gateway", "llm.example", "hello")
    assert (ran.code, "must begin with https://" in ran.err) == (2, True)


def test_an_answer_that_breaks_off_is_no_whole_answer(served, trio):
    trio[0].manner = "cut"
    ran = chat(served, "-p", "helpfulness=1", "hello")
    assert ran.code == 4
    assert ran.out.startswith("".join(WORDS[:4]))
    assert "the answer broke off" in ran.err


def test_a_token_comes_from_a_file_and_without_one_it_says_so(start_gateway, trio, tmp_path):
    (tmp_path / "tokens").write_text("a-good-token\n")
    (tmp_path / "empty").write_text("\n")
    gateway = start_gateway(token_file=tmp_path / "tokens")
    gateway.publish(table_of(trio))
    ran = chat(gateway, "hello")
    assert ran.code == 4
    assert "name a file that has one with --token-file" in ran.err
    assert chat(gateway, "--token-file", tmp_path / "tokens", "hello").code == 0
    assert "holds no token" in chat(gateway, "--token-file", tmp_path / "empty", "hello").err


def test_a_gateway_with_a_certificate_of_ones_own_is_trusted_by_the_usual_variable(
    start_gateway, trio, tmp_path, monkeypatch
):
    certificate, key = make_certificate(tmp_path, "server")
    gateway = start_gateway(tls_certificate=certificate, tls_key=key)
    gateway.publish(table_of(trio))
    assert "certificate" in chat(gateway, "hello").err
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert chat(gateway, "hello").code == 0


class Knows:
    """A cluster that has one Portfolio with its table, and no proxy."""

    namespace, host = "ml", "http://127.0.0.1:1"

    def __init__(self, table, **status):
        self._table, self._status = table, status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def portfolio(self, name):
        return {"metadata": {"namespace": "ml", "name": name}, "status": self._status}

    def route_table(self, name):
        return config_map(self._table) if self._table else None


@pytest.fixture
def known(monkeypatch):
    def know(table, **status):
        monkeypatch.setattr("palm_cli.command_chat.connected", lambda _: Knows(table, **status))

    return know


def test_without_a_gateway_the_policies_are_asked_best_first(trio, known):
    known(table_of(trio))
    ran = palm("chat", "assistant", "-p", "helpfulness=6,brevity=4", "hello")
    assert (ran.code, ran.out) == (0, f"{ANSWER}\n")
    assert "[w01-7c1f09, at most 0.02, relative 0.02778 below optimal on the grid; by" in ran.err
    assert f"by policy w01-7c1f09 at {trio[1].url}" in ran.err
    trio[1].stop()
    ran = palm("chat", "assistant", "-p", "helpfulness=6,brevity=4", "hello")
    assert "[w00-7c1f09, at most 0.12" in ran.err
    assert "better, but w01-7c1f09=unreachable" in ran.err


def test_a_gateway_of_the_status_that_is_out_of_reach_is_passed_by(trio, known, served):
    known(table_of(trio), gateway={"url": served.url, "model": "ml/assistant"})
    assert f"by the gateway {served.url}" in palm("chat", "assistant", "hello").err
    known(table_of(trio), gateway={"url": "http://127.0.0.1:1/v1", "model": "ml/assistant"})
    ran = palm("chat", "assistant", "-p", "brevity=1", "hello")
    assert (ran.code, "by policy w02-7c1f09 at" in ran.err) == (0, True)


def test_where_nobody_answers_every_way_is_told(trio, known):
    known(table_of(trio))
    for upstream in trio:
        upstream.status = 503
    ran = palm("chat", "assistant", "-p", "brevity=1", "hello")
    assert (ran.code, ran.out) == (4, "")
    for upstream in trio:
        assert f"at {upstream.url}: answered 503: {upstream.name} says no" in ran.err
    known(None)
    assert "has no route table yet" in palm("chat", "assistant", "hello").err


def test_compared_are_all_policies_side_by_side_and_one_that_fails_says_why(
    trio, known, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "150")
    known(table_of(trio))
    trio[2].status = 500
    ran = palm("chat", "assistant", "-p", "helpfulness=6,brevity=4", "--compare", "hello")
    assert ran.code == 0
    line = next(line for line in ran.out.splitlines() if "w00-7c1f09" in line)
    assert line.index("★ w01-7c1f09") < line.index("w00-7c1f09") < line.index("w02-7c1f09")
    assert ran.out.count(ANSWER) == 2
    assert "brief says no" in ran.out.replace("\n", "")
    for upstream in trio:
        upstream.status = 500
    assert palm("chat", "assistant", "-p", "brevity=1", "--compare", "hello").code == 4


def test_a_models_text_moves_no_cursor():
    assert printable("a\x1b[2Jb\n\tc\x07\u202e") == "a[2Jb\n\tc"


def test_a_conversation_keeps_what_was_said_and_changes_its_preference(served, trio, monkeypatch):
    import sys

    from palm_cli import command_chat
    from palm_cli.route_tables import Gateway
    from palm_cli.talking import Speaker

    lines = iter(["hello", "/preference brevity=1", "/preference nonsense", "again"])

    def typed(prompt):
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", typed)
    assert sys.stdin is not None
    guide = command_chat._Guide(None, "assistant", Gateway(served.url, "ml/assistant"))
    command_chat._converse(guide, Speaker(None), "helpfulness=1")
    assert b"hello" in trio[0].seen[0][2]
    (_, _, second) = trio[2].seen[0]
    assert second.count(b'"role"') == 3
    assert b"again" in second
    assert ANSWER.encode() in second
