from __future__ import annotations

import asyncio
import threading
import time

import pytest

from orchestrator.api.head import Head, Moment
from orchestrator.api.problems import unavailable
from orchestrator.database.tables import videos
from tests.api.house import House, video_row


def test_the_answer_waits_until_the_video_is_there(house: House) -> None:
    house.projected(bundles=0, videos=0)

    def post() -> None:
        house.insert(videos, video_row("vid_1", state="uploading"))
        house.projected(bundles=1, videos=1)
        with house.database.write() as connection:
            connection.execute(videos.update().values(state="posted"))
        house.projected(bundles=2, videos=2)

    timer = threading.Timer(0.3, post)
    timer.start()
    item = house.get("/api/videos/vid_1?until=posted,abandoned&wait=20")
    timer.join()
    assert item["state"] == "posted"


def test_the_answer_does_not_wait_for_what_is_so_already(house: House) -> None:
    house.insert(videos, video_row("vid_1", state="posted"))
    before = time.monotonic()
    assert house.get("/api/videos/vid_1?until=posted")["state"] == "posted"
    assert house.get("/api/videos/vid_1?until=abandoned&wait=0")["state"] == "posted"
    assert time.monotonic() - before < 5


def test_the_wait_ends(house: House) -> None:
    house.insert(videos, video_row("vid_1", state="uploading"))
    assert house.get("/api/videos/vid_1?until=posted&wait=0.2")["state"] == "uploading"
    house.get("/api/videos/vid_2?until=posted&wait=0.2", 404)


def test_only_states_can_be_waited_for(house: House) -> None:
    house.insert(videos, video_row("vid_1"))
    for query in ("until=post", "until=posted,no", "until=posted&wait=-1", "until=posted&wait=x", "wait=5", "wait=nan"):
        house.get(f"/api/videos/vid_1?{query}", 400)


class Log:
    """A log that moves when told, and whose reads may fail."""

    def __init__(self) -> None:
        self.position = 0
        self.reads = 0
        self.fails = False

    async def __call__(self, _: object) -> Moment:
        self.reads += 1
        if self.fails:
            self.fails = False
            raise unavailable("no")
        return Moment(self.position, 0, ())


def test_nobody_waiting_means_nobody_asking() -> None:
    async def scenario() -> None:
        log = Log()
        head = Head(log, interval=0.001)  # type: ignore[arg-type]
        waits = [asyncio.create_task(head.beyond(0)) for _ in range(50)]
        while log.reads < 3:
            await asyncio.sleep(0)
        log.position = 1
        await asyncio.gather(*waits)
        while head._poller is not None:
            await asyncio.sleep(0)
        reads = log.reads
        await asyncio.sleep(0.005)  # Some of the poller's intervals: that it reads, or does not, takes time to show.
        assert log.reads == reads
        log.position = 2
        await asyncio.wait_for(head.beyond(1), 5)

    asyncio.run(scenario())


def test_a_read_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.api.head.AFTER_TROUBLE", 0.001)

    async def scenario() -> None:
        log = Log()
        log.fails, log.position = True, 1
        await asyncio.wait_for(Head(log, interval=0.001).beyond(0), 5)  # type: ignore[arg-type]

    asyncio.run(scenario())


def test_a_server_that_stops_lets_everybody_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        head = Head(Log(), interval=0.001)  # type: ignore[arg-type]
        wait = asyncio.create_task(head.beyond(9))
        await asyncio.sleep(0.005)  # Some of the poller's intervals: that it reads, or does not, takes time to show.
        monkeypatch.setattr("sse_starlette.sse.AppStatus.should_exit", True)
        await asyncio.wait_for(wait, 5)

    asyncio.run(scenario())


def test_there_is_an_end_to_held_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.api.head.MOST_HELD", 1)

    async def scenario() -> None:
        head = Head(Log(), interval=0.001)  # type: ignore[arg-type]

        async def look() -> str:
            return "nothing yet"

        held = asyncio.create_task(head.hold(look, lambda _: False, 60))
        await asyncio.sleep(0)
        assert await asyncio.wait_for(head.hold(look, lambda _: False, 60), 5) == "nothing yet"
        assert not held.done()
        head.stop()
        await held

    asyncio.run(scenario())


def test_stopping_lets_everybody_go() -> None:
    async def scenario() -> None:
        head = Head(Log(), interval=0.001)  # type: ignore[arg-type]

        async def look() -> str:
            return "nothing yet"

        waits = [asyncio.create_task(head.beyond(9)), asyncio.create_task(head.hold(look, lambda _: False, 60))]
        await asyncio.sleep(0.005)  # Some of the poller's intervals: that it reads, or does not, takes time to show.
        head.stop()
        assert await asyncio.wait_for(asyncio.gather(*waits), 5) == [None, "nothing yet"]

    asyncio.run(scenario())
