from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from secrets import randbits
from time import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from orchestrator.simulate.client import Answer, Prepared, drive, run
from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.error import SimulateError
from orchestrator.simulate.events import UNKNOWN_TYPE, Account, Message, Video, build, post_url, types
from orchestrator.simulate.figures import Figures
from orchestrator.simulate.signing import sign
from orchestrator.simulate.storm import storm
from orchestrator.simulate.target import Target


def send_one(
    url: str,
    secret: str,
    dialect: Dialect | str,
    type: str,
    overrides: Mapping[str, Any] | None = None,
    *,
    seed: int | None = None,
) -> Answer:
    """Sends one event of `type`, happening now, with fields replaced as `events.build` describes.

    Without `seed` its ids are new on every call. Raises `SimulateError` for an unknown dialect or type (`UNKNOWN_TYPE`
    is allowed), a bad URL, and a server that does not answer.
    """
    return _send(url, secret, dialect, [type], overrides, seed)[0]


def send_all(url: str, secret: str, dialect: Dialect | str, *, seed: int | None = None) -> list[Answer]:
    """Sends every event type of `dialect` once, in the order of one account's life, each after the other's answer.

    Raises `SimulateError` as `send_one` does.
    """
    return _send(url, secret, dialect, types(parse_dialect(dialect)), None, seed)


def run_storm(
    url: str,
    secret: str,
    dialect: Dialect | str,
    *,
    json: bool = False,
    seed: int | None = None,
    console: Console | None = None,
    rate: float | None = None,
    duration: float | None = None,
    count: int | None = None,
    connections: int = 16,
    bundles: int = 100,
    duplicates: float = 0.0,
    reordering: float = 0.0,
    failures: float = 0.05,
    bad_signatures: float = 0.0,
) -> Figures:
    """Runs a storm with the settings that `storm.storm` describes, and prints its summary: a table, or JSON.

    On a terminal the figures are shown while it runs. An interrupt (Ctrl-C) ends it, with the summary so far.
    Without `seed` a new one is taken; the summary names it. Raises `SimulateError` with one sentence for the user.
    """
    chosen = parse_dialect(dialect)
    _need_secret(secret)
    seed = randbits(32) if seed is None else seed
    console = console or Console()
    figures = Figures()

    def blow(live: Callable[[Figures], None] | None) -> None:
        try:
            run(
                storm(
                    url,
                    secret,
                    chosen,
                    rate=rate,
                    duration=duration,
                    count=count,
                    connections=connections,
                    bundles=bundles,
                    duplicates=duplicates,
                    reordering=reordering,
                    failures=failures,
                    bad_signatures=bad_signatures,
                    seed=seed,
                    live=live,
                    figures=figures,
                )
            )
        except OSError as error:
            raise _unreachable(url, error) from None

    try:
        if json or not console.is_terminal:
            blow(None)
        else:
            with Live(_table(figures), console=console, transient=True, auto_refresh=False) as display:
                blow(lambda seen: display.update(_table(seen), refresh=True))
    except KeyboardInterrupt:
        figures.stopped = "interrupted"
    if json:
        sys.stdout.write(jsonlib.dumps({"seed": seed} | figures.as_dict(), indent=2) + "\n")
    elif console.is_terminal:
        console.print(_table(figures))
        console.print(f"seed {seed}", highlight=False)
    else:
        sys.stdout.write(f"{figures.table()}\nseed {seed}\n")
    return figures


def parse_dialect(dialect: Dialect | str) -> Dialect:
    """The dialect of that name. Raises `SimulateError` for another name."""
    try:
        return Dialect(dialect)
    except ValueError:
        names = ", ".join(known.value for known in Dialect)
        raise SimulateError(f"Unknown dialect {str(dialect)!r}; known are {names} and public.") from None


def _send(
    url: str,
    secret: str,
    dialect: Dialect | str,
    wanted: Iterable[str],
    overrides: Mapping[str, Any] | None,
    seed: int | None,
) -> list[Answer]:
    chosen = parse_dialect(dialect)
    _need_secret(secret)
    target = Target.parse(url)
    messages = _life(chosen, list(wanted), Random(randbits(64) if seed is None else seed), overrides)
    requests = (
        Prepared(target.post(message.body, sign(chosen, secret, message.body, time())), message.event_id, message.type)
        for message in messages
    )
    answers: list[Answer] = []
    try:
        figures = run(drive(url, requests, 1, on_answer=answers.append, patience=1.0))
    except OSError as error:
        raise _unreachable(url, error) from None
    if figures.lost or figures.stopped:
        raise SimulateError(f"{url} closed the connection or stayed silent without an answer.")
    return answers


def _life(dialect: Dialect, wanted: list[str], random: Random, overrides: Mapping[str, Any] | None) -> list[Message]:
    known = types(dialect)
    for type in wanted:
        if type not in known and type != UNKNOWN_TYPE:
            raise SimulateError(
                f"Unknown event type {type!r} of dialect {dialect.value}; known are {', '.join(known)} "
                f"and {UNKNOWN_TYPE} (a type of no dialect)."
            )
    tag = f"{random.getrandbits(32):08x}"
    account = Account(f"bdl_{tag}", f"acc_{tag}", f"acme.{tag}", "tiktok", "US", f"sav_{tag}")
    video = Video(f"vid_{tag}", 1, post_url(account, random))
    began = datetime.now(UTC) - timedelta(seconds=len(wanted) - 1)
    return [
        build(
            dialect,
            type,
            event_id=f"evt_{tag}{number:024x}",
            at=began + timedelta(seconds=number),
            account=account,
            video=video,
            random=random,
            overrides=overrides,
        )
        for number, type in enumerate(wanted)
    ]


def _need_secret(secret: str) -> None:
    if not secret:
        raise SimulateError("No signing secret given: the receiver's webhook secret is needed to sign.")


def _unreachable(url: str, error: OSError) -> SimulateError:
    reason = (
        "connection refused; is it running?" if isinstance(error, ConnectionRefusedError) else str(error) or "time out"
    )
    return SimulateError(f"Cannot reach {url}: {reason}")


def _table(figures: Figures) -> Table:
    table = Table(show_header=False, box=None)
    for label, text in figures.rows():
        table.add_row(label, text)
    return table
