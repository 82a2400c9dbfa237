from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from rich.console import Console

from orchestrator.simulate import command
from orchestrator.simulate.command import run_storm, send_all, send_one
from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.error import SimulateError
from orchestrator.simulate.events import UNKNOWN_TYPE, types
from orchestrator.simulate.figures import Figures
from tests.simulate.receiver import ACCEPTED, Receiver, Reply


@contextmanager
def served(reply: Reply = lambda request: ACCEPTED) -> Iterator[Receiver]:
    """A receiver on a thread of its own, since commands run a loop themselves."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    receiver = Receiver(reply)

    async def leave() -> None:
        # Closing the server between accepting a connection and making its transport would leak the socket.
        while accepting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(accepting)
        receiver.vanish()
        await asyncio.gather(*receiver.gone)

    try:
        asyncio.run_coroutine_threadsafe(receiver.listen(), loop).result()
        yield receiver
        asyncio.run_coroutine_threadsafe(leave(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def nowhere() -> str:
    with served() as receiver:
        return receiver.url


def test_send_one_with_overrides() -> None:
    with served() as receiver:
        sent = send_one(receiver.url, "s", "public", "video.finalized", {"id": "evt_x", "video_id": "v-9"})
    (request,) = receiver.requests
    assert (sent.status, sent.request.event_id, sent.request.type) == (200, "evt_x", "video.finalized")
    assert request.headers["tokportal-event-id"] == "evt_x"
    assert json.loads(request.body)["data"]["video_id"] == "v-9"


def test_ids_are_new_without_a_seed_and_the_same_with_one() -> None:
    with served() as receiver:
        ids = [send_one(receiver.url, "s", "article", UNKNOWN_TYPE).request.event_id for _ in range(2)]
        seeded = [send_one(receiver.url, "s", "article", UNKNOWN_TYPE, seed=1).request.event_id for _ in range(2)]
    assert len(set(ids)) == 2
    assert len(set(seeded)) == 1


@pytest.mark.parametrize("dialect", list(Dialect))
def test_send_all_sends_each_type_once_in_order(dialect: Dialect) -> None:
    with served() as receiver:
        answers = send_all(receiver.url, "s", dialect)
    assert tuple(answer.request.type for answer in answers) == types(dialect)
    assert len(receiver.requests) == len(answers)


def test_a_refused_connection_is_one_sentence(nowhere: str) -> None:
    with pytest.raises(SimulateError, match=r"Cannot reach .*refused"):
        send_one(nowhere, "s", "article", "bundle.ready")
    with pytest.raises(SimulateError, match=r"Cannot reach .*refused"):
        run_storm(nowhere, "s", "article", count=1)


def test_a_server_that_hangs_up() -> None:
    with served(lambda request: None) as receiver, pytest.raises(SimulateError, match="without an answer"):
        send_one(receiver.url, "s", "article", "bundle.ready")


@pytest.mark.parametrize(
    ("dialect", "type", "secret", "words"),
    [
        ("english", "bundle.ready", "s", "Unknown dialect 'english'"),
        ("article", "bundle.redy", "s", "Unknown event type 'bundle.redy'"),
        ("article", "bundle.ready", "", "No signing secret"),
    ],
)
def test_wrong_usage_is_one_sentence(dialect: str, type: str, secret: str, words: str) -> None:
    with pytest.raises(SimulateError, match=words):
        send_one("http://127.0.0.1:9/", secret, dialect, type)


def test_a_storm_prints_a_table_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with served() as receiver:
        figures = run_storm(receiver.url, "s", "article", count=20, seed=7)
    printed = capsys.readouterr().out
    assert figures.statuses == {200: 20}
    assert "status 200" in printed
    assert printed.endswith("seed 7\n")


def test_a_storm_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    with served() as receiver:
        run_storm(receiver.url, "s", "public", count=20, json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["statuses"] == {"200": 20}
    assert isinstance(printed["seed"], int)


def test_a_storm_on_a_terminal_shows_live_figures() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with served() as receiver:
        run_storm(receiver.url, "s", "article", count=20, seed=7, console=console)
    assert "per second" in screen.getvalue()
    assert "seed 7" in screen.getvalue()


def test_an_interrupt_leaves_a_summary(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def interrupted(*_: object, figures: Figures, **__: object) -> Figures:
        figures.record(200, b"{}", 0.001)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "storm", interrupted)
    figures = run_storm("http://127.0.0.1:9/", "s", "article", count=1)
    assert figures.stopped == "interrupted"
    assert "interrupted" in capsys.readouterr().out
