"""Read models made anew: how fast, in how much memory, and what is left of the door's acceptance meanwhile.

`python -m bench.rebuild URL NAME…` makes them anew once, in a process of its own, so that its memory can be told."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from bench import measure
from bench.long_log import EVENTS, long_log, write_log
from bench.stage import Server
from orchestrator.database import Database, Lease
from orchestrator.worker import tune_collector
from projections import NAMES
from projections.rebuild import LEASE, UNDER_WAY, Builder, Finisher, read_rebuilds, want
from projections.verify import verify

SETS: dict[str, tuple[str, ...]] = {"bundles": ("bundles",), "all": NAMES}


class Made(NamedTuple):
    """`rate`: events of the log per second; `memory`: the most, MB."""

    rate: float
    memory: int


class Beside(NamedTuple):
    """Webhooks per second, without a rebuild and beside one; whether it was still under way at the end."""

    alone: float
    beside: float
    was_under_way: bool


def prepare(url: str) -> None:
    """A long log, and read models that have followed it."""
    database = Database(url, connections=1)
    write_log(database, long_log())
    database.close()
    make(url, NAMES)


def make(url: str, names: Sequence[str]) -> Made:
    command = [sys.executable, "-m", "bench.rebuild", url, *names]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return Made(**msgspec.json.decode(told))


def differences(url: str) -> tuple[int, float]:
    """How many rows differ from what the log says, and events per second of the comparison."""
    database = Database(url, connections=3)
    began = time.monotonic()
    report = verify(database)
    seconds = time.monotonic() - began
    database.close()
    return sum(report.counts.values()), EVENTS / seconds


def beside_a_storm(url: str, webhooks: int) -> Beside:
    """The acceptance of a storm on the whole service, first alone, then while all read models are made anew."""
    server = Server(url, working=True)
    database = Database(url, connections=1)
    try:
        rates = []
        for turn, rebuilding in enumerate((False, True)):
            given = measure.requests(server.door, webhooks, seed=turn)
            if rebuilding:
                measure.drain(url)
                with database.write() as connection:
                    want(database, connection, NAMES)
                while "reading" not in _stages(database):
                    time.sleep(0.02)
            rates.append(measure.acceptance(server.door, given).as_dict()["per_second"])
        return Beside(*rates, was_under_way=bool(_stages(database) & set(UNDER_WAY)))
    finally:
        database.close()
        server.stop()


def _stages(database: Database) -> set[str]:
    with database.read() as connection:
        return {made.stage for made in read_rebuilds(connection).values()}


def main(url: str, names: Sequence[str]) -> None:
    tune_collector()
    database = Database(url, connections=3)
    lease = Lease(database, LEASE, "bench")
    if not lease.acquire():
        raise SystemExit("somebody else is making read models anew")
    with database.write() as connection:
        want(database, connection, names)
    began = time.monotonic()
    Builder(database, lease).run()
    while not Finisher(database).finish():
        pass
    seconds = time.monotonic() - began
    lease.release()
    database.close()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    made: dict[str, Any] = {"rate": EVENTS / seconds, "memory": memory}
    sys.stdout.buffer.write(msgspec.json.encode(made))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
