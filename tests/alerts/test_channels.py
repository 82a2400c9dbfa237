"""Messages on their way to a real receiver, through the library; and what is refused before that."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from orchestrator.alerts import channels
from orchestrator.alerts.channels import AppriseChannel, Channels, NotSentError
from orchestrator.alerts.messages import Text
from orchestrator.secrets import Secret
from tests.alerts.receiver import Receiver, receiving

CANARY = "canary7d1e5c"
TEXT = Text("Banned · US tiktok", "bdl_1 is banned\n/api/bundles/bdl_1/history")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def channel(url: str, *, allow_private: bool = True) -> AppriseChannel:
    return AppriseChannel(Secret(url), allow_private=allow_private)


def problem(url: str, *, allow_private: bool = False) -> str:
    with pytest.raises(NotSentError) as error:
        channel(url, allow_private=allow_private).send(TEXT)
    assert error.value.__cause__ is None
    return str(error.value)


def test_a_message_arrives_as_it_was_written(receiver: Receiver) -> None:
    channel(receiver.url("hook")).send(TEXT)

    ((path, body),) = receiver.requests
    assert path.rstrip("/") == "/hook"
    assert (body["title"], body["message"], body["type"]) == (TEXT.title, TEXT.body, "warning")


def test_a_message_that_something_is_over_is_marked_as_good(receiver: Receiver) -> None:
    channel(receiver.url()).send(Text("Resolved", "it is over", is_good=True))

    assert receiver.requests[0][1]["type"] == "success"


def test_a_refusal_is_a_problem_with_its_code_and_without_the_url(receiver: Receiver) -> None:
    receiver.status = 503

    said = problem(receiver.url(CANARY), allow_private=True)
    assert said.startswith("json://***: ") and "503" in said
    assert CANARY not in said and str(receiver.port) not in said


def test_who_does_not_listen_is_a_problem(receiver: Receiver) -> None:
    assert problem("json://127.0.0.1:1/x", allow_private=True).startswith("json://***: ")


def test_who_takes_too_long_is_not_waited_for(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "DEADLINE", 0.2)
    receiver.gate.clear()

    assert problem(receiver.url("x"), allow_private=True) == "json://***: no answer in time"


@pytest.mark.parametrize("asked", ["", "?redirect=yes"])
def test_redirects_are_not_followed_even_if_the_url_asks_for_them(receiver: Receiver, asked: str) -> None:
    receiver.status, receiver.location = 307, f"http://127.0.0.1:{receiver.port}/elsewhere"

    assert "307" in problem(receiver.url(f"hook{asked}"), allow_private=True)
    assert len(receiver.requests) == 1


def test_this_machine_is_refused_without_the_switch_and_nothing_is_sent(receiver: Receiver) -> None:
    url = receiver.url("hook").replace("json://", "jsons://")

    assert problem(url) == "jsons://***: 127.0.0.1 is no address of the public internet"
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("jsons://169.254.169.254/latest", "169.254.169.254 is no address of the public internet"),
        ("jsons://localhost/x", "is no address of the public internet"),
        ("jsons://2130706433/x", "four decimal numbers"),
        ("jsons://127.1/x", "no URL that Apprise can use here"),
        ("json://hooks.example.com/x", "not encrypted"),
        ("xml://hooks.example.com/x", "not encrypted"),
        ("ntfy://hooks.example.com/topic", "not encrypted"),
        ("irc://irc.example.com/room", "not supported"),
        ("mqtts://mq.example.com/topic", "no URL that Apprise can use here"),
        ("syslog://", "not supported"),
        ("what is this", "no URL that Apprise can use here"),
        ("nosuchservice://x", "no URL that Apprise can use here"),
    ],
)
def test_urls_that_must_not_be_used(url: str, why: str) -> None:
    assert why in problem(url)


def test_metadata_services_are_refused_with_the_switch_too() -> None:
    assert "no address of the public internet" in problem("json://169.254.169.254/x", allow_private=True)


def test_what_a_library_would_raise_is_a_problem_that_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise import Apprise

    def fail(*args: object, **kwargs: object) -> None:
        raise ValueError(f"cannot read {CANARY}")

    monkeypatch.setattr(Apprise, "notify", fail)
    assert problem(f"jsons://hooks.example.com/{CANARY}") == "jsons://***: ValueError"


def test_nothing_of_the_url_reaches_the_log(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.status = 500
    for url in (receiver.url(f"{CANARY}?+X-Token={CANARY}"), f"json://{CANARY}:{CANARY}@127.0.0.1:1/{CANARY}"):
        said = problem(url, allow_private=True)
        assert CANARY not in said
    assert CANARY not in caplog.text
    assert CANARY not in repr(channel(receiver.url(CANARY))) + channel(receiver.url(CANARY)).shown


# From names to channels.


def test_a_channel_is_found_in_its_variable() -> None:
    variables = {"OPS_ALERT_URL": Secret("jsons://hooks.example.com/x")}
    found = Channels(variables.get, allow_private=False)

    opened = found.open("ops", "env:OPS_ALERT_URL")
    assert opened is not None and opened.shown == "jsons://***"
    assert found.open("ops", "env:OPS_ALERT_URL") is opened
    variables["OPS_ALERT_URL"] = Secret("slack://TokenA/TokenB/TokenC")
    changed = found.open("ops", "env:OPS_ALERT_URL")
    assert changed is not None and changed.shown == "slack://***"


def test_a_url_may_stand_in_the_policies_themselves() -> None:
    opened = Channels(lambda name: None, allow_private=False).open(
        "team", "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV"
    )
    assert opened is not None and opened.shown == "discord://***"


def test_what_is_not_set_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    found = Channels(lambda name: None, allow_private=False)
    for _ in range(3):
        assert found.open("ops", "env:OPS_ALERT_URL") is None
        assert found.open("gone", None) is None
    assert [record.getMessage() for record in caplog.records] == [
        "the alert channel ops is not heard: OPS_ALERT_URL is not set; alerts are only written to the log",
        "the alert channel gone is not heard: the policies do not define it; alerts are only written to the log",
    ]
