from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest

from orchestrator.simulate.client import Answer, Prepared, drive, run
from orchestrator.simulate.figures import Figures
from orchestrator.simulate.target import Target
from tests.simulate.receiver import ACCEPTED, Receiver, Reply, Request, answer, receiving

DUPLICATE = answer(200, {"status": "duplicate", "message_id": "m1"})


def driven(reply: Reply, amount: int | None, connections: int = 2, **settings: Any) -> tuple[Figures, Receiver]:
    async def main() -> tuple[Figures, Receiver]:
        async with receiving(reply) as receiver:
            data = Target.parse(receiver.url).post(b'{"x":1}')
            requests: Iterator[bytes | Prepared] = repeat(data) if amount is None else repeat(data, amount)
            return await drive(receiver.url, requests, connections, **settings), receiver

    return run(main())


def test_every_request_is_sent_and_counted() -> None:
    figures, receiver = driven(lambda request: DUPLICATE if request.number % 4 == 0 else ACCEPTED, 100, connections=7)
    assert figures.statuses == {200: 100}
    assert figures.words == {"accepted": 75, "duplicate": 25}
    assert figures.latencies.count == 100
    assert (figures.lost, figures.reconnects, figures.stopped) == (0, 0, "")
    assert receiver.connections == 7
    assert {(request.method, request.path, request.body) for request in receiver.requests} == {
        ("POST", "/webhooks/tokportal?x=1", b'{"x":1}')
    }


def test_refusals_are_answers() -> None:
    replies = [ACCEPTED, answer(401, {"status": 401}), answer(503, None, "Retry-After: 1")]
    figures, _ = driven(lambda request: replies[request.number % 3], 30)
    assert figures.statuses == {200: 10, 401: 10, 503: 10}
    assert figures.words == {"accepted": 10}


def test_on_answer_gets_the_request_with_its_answer() -> None:
    answers: list[Answer] = []

    async def main() -> None:
        async with receiving(lambda request: ACCEPTED) as receiver:
            data = Target.parse(receiver.url).post(b"{}")
            requests = (Prepared(data, f"evt_{number}", "webhook.test", (401,)) for number in range(5))
            figures = await drive(receiver.url, requests, 1, on_answer=answers.append)
            assert figures.unexpected == 5

    run(main())
    assert [answer.request.event_id for answer in answers] == [f"evt_{number}" for number in range(5)]
    shown = answers[0].as_dict()
    assert (shown["type"], shown["status"], shown["answer"]["status"]) == ("webhook.test", 200, "accepted")
    assert Answer(Prepared(b""), 500, b"oops", 0.1).as_dict()["answer"] == "oops"


def test_a_server_that_closes_after_each_answer_is_dialled_again() -> None:
    closing = answer(200, {"status": "accepted"}, "Connection: close")
    figures, receiver = driven(lambda request: closing, 10, connections=1)
    assert figures.statuses == {200: 10}
    assert receiver.connections >= 10
    assert figures.lost == 0


def test_a_request_whose_connection_breaks_is_lost_and_the_rest_goes_on() -> None:
    figures, _ = driven(lambda request: None if request.number == 3 else ACCEPTED, 20)
    assert figures.statuses == {200: 19}
    assert (figures.lost, figures.reconnects) == (1, 1)


def test_an_answer_in_pieces() -> None:
    pieces = [ACCEPTED[at : at + 7] for at in range(0, len(ACCEPTED), 7)]
    figures, _ = driven(lambda request: list(pieces), 5)
    assert figures.words == {"accepted": 5}


def test_interim_answers_and_empty_ones() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    replies: list[bytes | list[bytes]] = [interim + ACCEPTED, [interim, ACCEPTED], b"HTTP/1.1 204 None\r\n\r\n"]
    figures, _ = driven(lambda request: replies[request.number % 3], 9)
    assert figures.statuses == {200: 6, 204: 3}
    assert figures.lost == 0


def test_an_answer_without_a_length_costs_the_connection() -> None:
    figures, _ = driven(lambda request: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 3)
    assert figures.statuses == {200: 3}
    assert figures.lost == 0


@pytest.mark.parametrize(
    "nonsense", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"HTTP/1.1 200 K\r\nContent-Length: q\r\n\r\n"]
)
def test_what_is_no_http_answer_is_lost(nonsense: bytes) -> None:
    figures, _ = driven(lambda request: nonsense if request.number == 0 else ACCEPTED, 5)
    assert (figures.statuses, figures.lost) == ({200: 4}, 1)


def test_an_answer_to_nothing_costs_the_connection() -> None:
    figures, _ = driven(lambda request: ACCEPTED + ACCEPTED, 4, connections=1)
    assert (figures.statuses, figures.lost) == ({200: 4}, 0)


def test_words_on_an_idle_connection_cost_it() -> None:
    async def main() -> Figures:
        async with receiving(lambda request: ACCEPTED) as receiver:

            def chatting(request: Request) -> bytes | None:
                for transport in receiver.transports:
                    transport.write(ACCEPTED)
                return None if request.number == 0 else ACCEPTED

            receiver.reply = chatting
            data = Target.parse(receiver.url).post(b"{}")
            return await drive(receiver.url, repeat(data, 1), 2, rate=1.0)

    assert run(main()).answers == 1


def test_a_silent_server_loses_the_request() -> None:
    figures, _ = driven(lambda request: [] if request.number == 0 else ACCEPTED, 5, timeout=0.02)
    assert (figures.statuses, figures.lost) == ({200: 4}, 1)


def test_open_loop_sends_all_that_is_due() -> None:
    figures, _ = driven(lambda request: ACCEPTED, 50, connections=3, rate=5000.0)
    assert figures.statuses == {200: 50}


def test_an_open_loop_with_too_few_connections_catches_up() -> None:
    figures, _ = driven(lambda request: ACCEPTED, 300, connections=1, rate=1e6)
    assert figures.statuses == {200: 300}
    assert figures.latencies.max >= figures.latencies.percentile(50)


@pytest.mark.parametrize("rate", [None, 2000.0])
def test_a_duration_ends_an_endless_stream(rate: float | None) -> None:
    figures, _ = driven(lambda request: ACCEPTED, None, duration=0.05, rate=rate)
    assert figures.statuses[200] > 0
    assert figures.statuses.total() == figures.answers


def test_a_duration_ends_the_wait_for_a_server_that_is_gone() -> None:
    async def main() -> Figures:
        async with receiving(lambda request: ACCEPTED) as receiver:

            def vanishing(request: Request) -> None:
                receiver.vanish()

            receiver.reply = vanishing
            data = Target.parse(receiver.url).post(b"{}")
            return await drive(receiver.url, repeat(data), 1, duration=0.05, timeout=0.05)

    figures = run(main())
    assert (figures.answers, figures.lost, figures.stopped) == (0, 1, "")


def test_a_server_gone_for_good_ends_the_run() -> None:
    async def main() -> Figures:
        async with receiving(lambda request: ACCEPTED) as receiver:

            def vanishing(request: Request) -> bytes | None:
                if request.number == 20:
                    receiver.vanish()
                return ACCEPTED

            receiver.reply = vanishing
            data = Target.parse(receiver.url).post(b"{}")
            return await drive(receiver.url, repeat(data), 3, patience=0.05)

    figures = run(main())
    assert "went away" in figures.stopped
    assert 0 < figures.statuses[200] <= 20
    assert 1 <= figures.lost <= 3


def test_a_server_that_comes_back_is_driven_on() -> None:
    async def main() -> Figures:
        async with receiving(lambda request: ACCEPTED) as receiver:
            back: list[asyncio.Task[None]] = []

            def restarting(request: Request) -> bytes | None:
                if request.number == 20:
                    receiver.vanish()
                    port = Target.parse(receiver.url).port
                    back.append(asyncio.get_running_loop().create_task(receiver.listen(port)))
                return ACCEPTED

            receiver.reply = restarting
            figures = await drive(receiver.url, repeat(Target.parse(receiver.url).post(b"{}"), 60), 3)
            await asyncio.gather(*back)
            return figures

    figures = run(main())
    assert figures.stopped == ""
    assert figures.statuses[200] + figures.lost == 60
    assert 1 <= figures.lost <= 3
    assert figures.reconnects >= 1


def test_a_server_that_is_not_there() -> None:
    async def main() -> None:
        async with receiving(lambda request: ACCEPTED) as receiver:
            receiver.vanish()
            for url in (receiver.url, receiver.url.replace("http", "https")):
                with pytest.raises(ConnectionRefusedError):
                    await drive(url, iter([b"x"]), 2)

    run(main())


def test_errors_of_the_caller_come_back_to_the_caller() -> None:
    def broken() -> Iterator[bytes]:
        yield from ()
        raise LookupError("requests")

    def refuse(answer: Answer) -> None:
        raise LookupError("answers")

    async def main() -> None:
        async with receiving(lambda request: ACCEPTED) as receiver:
            with pytest.raises(LookupError, match="requests"):
                await drive(receiver.url, broken(), 2)
            with pytest.raises(LookupError, match="answers"):
                await drive(receiver.url, repeat(Target.parse(receiver.url).post(b"{}")), 2, on_answer=refuse)

    run(main())


def test_without_requests_it_ends_at_once() -> None:
    assert driven(lambda request: ACCEPTED, 0)[0].answers == 0
    assert driven(lambda request: ACCEPTED, 0, rate=10.0)[0].answers == 0


def test_it_runs_on_the_standard_loop_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)

    async def main() -> Figures:
        async with receiving(lambda request: ACCEPTED) as receiver:
            return await drive(receiver.url, repeat(Target.parse(receiver.url).post(b"{}"), 10), 2)

    assert run(main()).statuses == {200: 10}
