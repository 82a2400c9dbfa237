from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from time import time

from orchestrator.simulate.client import Answer, Prepared, drive
from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.error import SimulateError
from orchestrator.simulate.figures import Figures
from orchestrator.simulate.mischief import Delivery, Mischief
from orchestrator.simulate.signing import sign
from orchestrator.simulate.target import Target
from orchestrator.simulate.world import World

_GOOD = (200,)
# An orchestrator limits unverified senders, so too many forgeries are answered 429.
_FORGED = (401, 429)
_FASTEST = 50_000
_GLANCE = 0.25
_STEP = timedelta(milliseconds=1)


async def storm(
    url: str,
    secret: str,
    dialect: Dialect,
    *,
    rate: float | None = None,
    duration: float | None = None,
    count: int | None = None,
    connections: int = 16,
    bundles: int = 100,
    duplicates: float = 0.0,
    reordering: float = 0.0,
    failures: float = 0.05,
    bad_signatures: float = 0.0,
    seed: int = 0,
    start: datetime | None = None,
    live: Callable[[Figures], None] | None = None,
    record: Callable[[str, int], None] | None = None,
    figures: Figures | None = None,
    timeout: float = 10.0,
    patience: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> Figures:
    """Sends the messages of a `World` to `url`, with the shares of `Mischief`, for `duration` seconds or `count` times.

    `rate` is deliveries per second (none: as fast as the answers come), `failures` the world's share of videos that are
    never posted. `start` is when the world's time begins; by default so that it ends about now, since receivers
    distrust times ahead of theirs. Equal `seed` and `start` give equal deliveries but for signature times.
    Every good delivery is expected to be answered 200, a forged one 401 (or 429); other answers count as unexpected.
    `live` sees the figures four times a second; `record` gets event id and status of every good delivery's answer.
    Raises `SimulateError` for settings that make no sense and `OSError` when the server cannot be reached.
    """
    if duration is None and count is None:
        raise SimulateError("A storm needs a duration or a count.")
    for name, value in (("rate", rate), ("duration", duration), ("count", count)):
        if value is not None and value <= 0:
            raise SimulateError(f"The {name} of a storm must be above 0.")
    for name, number in (("bundles", bundles), ("connections", connections)):
        if number < 1:
            raise SimulateError(f"A storm needs at least 1 of {name}.")
    if not 0 <= failures <= 1:
        raise SimulateError("The share of failures goes from 0 to 1.")
    mischief = Mischief(duplicates, reordering, bad_signatures)
    figures = figures or Figures()
    if start is None:
        most = count if count is not None else int((rate or _FASTEST) * (duration or 0))
        start = datetime.now(UTC) - _STEP * most
    world = World(dialect, start=start, bundles=bundles, seed=seed, failures=failures, step=_STEP)
    # A random source of its own: the world stays the same under any mischief.
    deliveries = mischief.deliveries(world, Random(f"mischief {seed}"), count)
    requests = _requests(Target.parse(url), secret, dialect, deliveries)

    def note(answer: Answer) -> None:
        if record is not None and not answer.request.forged:
            record(answer.request.event_id, answer.status)

    watch = asyncio.create_task(_watch(live, figures)) if live else None
    try:
        await drive(
            url,
            requests,
            connections,
            rate,
            duration,
            note if record else None,
            figures=figures,
            timeout=timeout,
            patience=patience,
            tls=tls,
        )
    finally:
        if watch:
            watch.cancel()
            await asyncio.wait([watch])
    if live:
        live(figures)
    return figures


def _requests(
    target: Target, secret: str, dialect: Dialect, deliveries: Iterator[Delivery]
) -> Iterator[bytes | Prepared]:
    for delivery in deliveries:
        message = delivery.message
        key = f"not {secret}" if delivery.forged else secret
        data = target.post(message.body, sign(dialect, key, message.body, time()))
        expected = _FORGED if delivery.forged else _GOOD
        yield Prepared(data, message.event_id, message.type, expected, delivery.forged)


async def _watch(live: Callable[[Figures], None], figures: Figures) -> None:
    while True:
        live(figures)
        await asyncio.sleep(_GLANCE)
