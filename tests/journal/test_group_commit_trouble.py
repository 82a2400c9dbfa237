"""What group commit says and does when its process is slow, fails or is gone: with a process that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from orchestrator.dialects import ARTICLE
from orchestrator.journal import Appended, group_commit
from orchestrator.journal.committer import Answer, Arrival, Frames, Request, encode, frame
from orchestrator.journal.group_commit import (
    FORGIVEN_AFTER,
    STUCK_AFTER,
    GroupCommit,
    JournalFullError,
    JournalUnavailableError,
)

decode = msgspec.msgpack.Decoder(Request).decode


class Stdin:
    def __init__(self, process: Process) -> None:
        self._process = process
        self._frames = Frames()
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self._process.requests.append([decode(payload) for payload in self._frames.feed(data)])

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True
        self._process.end(0)


class Process:
    """A committing process that does nothing but what the test says. `requests` are what it got, write by write."""

    def __init__(self) -> None:
        self.stdin = Stdin(self)
        self.stdout = asyncio.StreamReader()
        self.requests: list[list[Request]] = []
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    def answer(self, *answers: tuple[int, bool | None]) -> None:
        self.stdout.feed_data(frame(encode([Answer(number, f"msg_{number}", known) for number, known in answers])))

    def end(self, code: int) -> None:
        if self.returncode is None:
            self.returncode = code
            self.stdout.feed_eof()
            self._ended.set()

    def kill(self) -> None:
        self.end(-9)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


class Stage:
    """Group commit, the processes that it started, and the loop's time, which tests move on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, **limits: int) -> None:
        self.commit = GroupCommit(["committer"], **limits)
        self.processes: list[Process] = []
        self.cannot_start: list[Exception] = []
        self.begin_at_once = True
        self._loop = loop
        self._ahead = 0.0

    async def start_process(self, *command: str, **options: Any) -> Process:
        if self.cannot_start:
            raise self.cannot_start.pop()
        self.processes.append(Process())
        if self.begin_at_once:
            self.process.answer()
        return self.process

    @property
    def process(self) -> Process:
        return self.processes[-1]

    def send(self, number: int, timeout: float = 30, size: int = 10) -> asyncio.Task[Appended]:
        return self._loop.create_task(self.commit.append(arrival(number, size), timeout))

    def pass_time(self, seconds: float) -> None:
        self._ahead += seconds

    def time(self) -> float:
        return self._ahead

    async def settle(self) -> None:
        """Until everything that is ready has run."""
        for _ in range(20):
            await asyncio.sleep(0)


def arrival(number: int, size: int = 10) -> Arrival:
    return Arrival("default", "live", ARTICLE, "5ec2e7", [], b"x" * size, number)


def play(scene: Callable[[Stage], Awaitable[None]], monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
    """Plays the scene from the moment on at which the process runs."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stage = Stage(loop, **limits)
        monkeypatch.setattr(group_commit.asyncio, "create_subprocess_exec", stage.start_process)
        monkeypatch.setattr(group_commit, "PAUSE", 0)
        monkeypatch.setattr(loop, "time", lambda real=loop.time: real() + stage.time())
        stage.commit.start(loop)
        await stage.settle()
        try:
            await scene(stage)
        finally:
            await stage.commit.stop()

    asyncio.run(main())


def test_a_process_that_has_not_begun_is_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.begin_at_once = False
        stage.process.end(1)
        while len(stage.processes) < 2:
            await stage.settle()
        await stage.settle()
        assert stage.commit.trouble() == "the committing process is starting"
        stage.process.answer()
        await stage.settle()
        assert stage.commit.trouble() is None

    play(scene, monkeypatch)


def test_all_is_well_while_answers_come(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        assert stage.commit.trouble() is None
        sent = stage.send(1)
        await stage.settle()
        assert stage.commit.trouble() is None
        stage.process.answer((1, False))
        assert await sent == Appended("msg_1", duplicate=False)
        assert stage.commit.trouble() is None

    play(scene, monkeypatch)


def test_before_it_is_started_the_process_is_missing() -> None:
    assert GroupCommit(["committer"]).trouble() == "the committing process is not running"


def test_each_is_told_the_fate_of_its_own_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        sent = [stage.send(number) for number in (1, 2, 3)]
        await stage.settle()
        stage.process.answer((3, True), (1, False))
        await stage.settle()
        assert (sent[2].result().duplicate, sent[0].result().duplicate) == (True, False)
        assert not sent[1].done()
        stage.process.answer((2, None))
        with pytest.raises(JournalUnavailableError):
            await sent[1]

    play(scene, monkeypatch)


def test_what_comes_at_once_is_handed_over_in_handfuls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "HANDFUL", 4)

    async def scene(stage: Stage) -> None:
        sent = [stage.send(number) for number in range(1, 11)]
        await stage.settle()
        assert [[request.number for request in write] for write in stage.process.requests] == [
            [1, 2, 3, 4],
            [5, 6, 7, 8],
            [9, 10],
        ]
        stage.process.answer(*((number, False) for number in range(1, 11)))
        await asyncio.gather(*sent)

    play(scene, monkeypatch)


def test_a_full_queue_refuses_until_there_is_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        sent = [stage.send(1), stage.send(2)]
        await stage.settle()
        assert stage.commit.trouble() == "the journal's queue is full"
        with pytest.raises(JournalFullError):
            await stage.send(3)

        stage.process.answer((1, False))
        await sent[0]
        assert stage.commit.trouble() is None
        late = stage.send(3)
        await stage.settle()
        stage.process.answer((2, False), (3, False))
        await asyncio.gather(*sent, late)

    play(scene, monkeypatch, capacity=2)


def test_few_big_messages_fill_the_queue_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        sent = [stage.send(1, size=600), stage.send(2, size=600)]
        await stage.settle()
        assert stage.commit.trouble() == "the journal's queue is full"
        with pytest.raises(JournalFullError):
            await stage.send(3, size=1)

        stage.process.answer((2, False))
        await sent[1]
        assert stage.commit.trouble() is None
        stage.process.answer((1, False))
        await sent[0]

    play(scene, monkeypatch, room=1000)


def test_who_hangs_up_leaves_its_place_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        sent = stage.send(1)
        await stage.settle()
        sent.cancel()
        await stage.settle()
        assert stage.commit.waiting == 0
        assert stage.commit.trouble() is None
        stage.process.answer((1, False))  # nobody cares, and nothing happens
        await stage.settle()

    play(scene, monkeypatch, capacity=1)


def test_who_waits_for_too_long_is_told_that_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        hasty, patient = stage.send(1, timeout=1), stage.send(2, timeout=3)
        await stage.settle()
        stage.pass_time(1)
        with pytest.raises(JournalUnavailableError):
            await hasty
        assert not patient.done()
        assert stage.commit.waiting == 1
        stage.process.answer((1, False), (2, False))  # what lands later changes nothing for who gave up
        assert (await patient).duplicate is False

    play(scene, monkeypatch)


def test_a_message_that_waits_is_trouble_and_its_answer_the_end_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        sent = stage.send(1)
        await stage.settle()
        stage.pass_time(STUCK_AFTER + 1)
        assert stage.commit.trouble() == "a message has been waiting for 3 s"
        stage.process.answer((1, False))
        await sent
        assert stage.commit.trouble() is None

    play(scene, monkeypatch)


def test_a_failed_commit_is_trouble_until_one_works(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        sent = stage.send(1)
        await stage.settle()
        stage.process.answer((1, None))
        with pytest.raises(JournalUnavailableError):
            await sent
        assert stage.commit.trouble() == "the last commit failed"

        again = stage.send(1)
        await stage.settle()
        stage.process.answer((2, False))
        await again
        assert stage.commit.trouble() is None

    play(scene, monkeypatch)


def test_a_failed_commit_is_forgiven_when_nobody_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        sent = stage.send(1)
        await stage.settle()
        stage.process.answer((1, None))
        with pytest.raises(JournalUnavailableError):
            await sent
        stage.pass_time(FORGIVEN_AFTER + 1)
        assert stage.commit.trouble() is None

    play(scene, monkeypatch)


def test_when_the_process_dies_all_are_told_and_the_next_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        sent = [stage.send(1), stage.send(2)]
        await stage.settle()
        stage.process.answer((1, False))
        stage.process.end(-9)
        assert (await sent[0]).duplicate is False  # its last words count
        with pytest.raises(JournalUnavailableError):
            await sent[1]

        await stage.settle()
        assert len(stage.processes) == 2
        assert stage.commit.trouble() is None
        again = stage.send(2)
        await stage.settle()
        stage.process.answer((3, True))
        assert (await again).duplicate is True

    play(scene, monkeypatch)


def test_while_the_process_is_started_again_messages_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        monkeypatch.setattr(group_commit, "PAUSE", 3600)
        stage.process.end(1)
        await stage.settle()
        assert stage.commit.trouble() == "the committing process is not running"
        sent = stage.send(1)
        await stage.settle()
        assert len(stage.processes) == 1

        stage.pass_time(3600)
        while len(stage.processes) == 1:
            await asyncio.sleep(0)
        await stage.settle()
        stage.process.answer((1, False))
        assert (await sent).duplicate is False

    monkeypatch.setattr(group_commit, "SWEEP", 7200)  # or it would be told first that it has waited for too long
    play(scene, monkeypatch)


def test_stopping_hands_over_what_came_last_and_waits_for_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        monkeypatch.setattr(group_commit, "PAUSE", 3600)
        process = stage.process

        def store_and_end() -> None:
            process.answer(*((request.number, False) for write in process.requests for request in write))
            process.end(0)

        monkeypatch.setattr(process.stdin, "close", store_and_end)
        sent = stage.send(1)
        await asyncio.sleep(0)
        assert process.requests == []  # it came this very moment

        await stage.commit.stop()

        assert (await sent).duplicate is False
        assert len(stage.processes) == 1

    play(scene, monkeypatch)


def test_stopping_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.process.stdin.close = lambda: None  # type: ignore[method-assign]
        monkeypatch.setattr(group_commit, "STOP_WITHIN", 0)
        await stage.commit.stop()
        assert stage.process.returncode == -9

    play(scene, monkeypatch)


def test_a_message_that_cannot_be_handed_over_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        with pytest.raises(OverflowError):
            await stage.send(2**70)
        assert stage.commit.waiting == 0

    play(scene, monkeypatch)


def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        stage.cannot_start = [BlockingIOError("no more processes")]
        stage.process.end(1)
        await stage.settle()
        assert len(stage.processes) == 2
        assert stage.commit.trouble() is None

    play(scene, monkeypatch)


def test_nobody_is_left_waiting_by_a_stop_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(stage: Stage) -> None:
        monkeypatch.setattr(group_commit, "PAUSE", 3600)
        stage.process.end(1)
        await stage.settle()
        sent = stage.send(1)
        await stage.settle()
        await stage.commit.stop()
        await stage.settle()
        left_waiting = not sent.done()
        sent.cancel()
        assert not left_waiting

    play(scene, monkeypatch)
