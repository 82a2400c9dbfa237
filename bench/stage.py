"""Databases and servers to measure, made for one run and thrown away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from orchestrator.database import Database, migrate
from orchestrator.database.tables import leases
from orchestrator.webhooks.endpoints import PATH
from orchestrator.worker import WORKERS
from tests.postgres import running_server

SECRET = "bench_secret_do_not_use"
BACKENDS = ("sqlite", "postgresql")


@contextmanager
def databases() -> Iterator[dict[str, Databases]]:
    """By backend, a source of fresh migrated databases."""
    with tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as folder, running_server() as server:

        def sqlite(number: int) -> str:
            return f"sqlite:///{folder}/{number}/orchestrator.db"

        yield {
            "sqlite": Databases(sqlite),
            "postgresql": Databases(lambda _: server.new_database()),
        }


class Databases:
    """Gives a fresh migrated database at each call of `new`."""

    def __init__(self, make: Callable[[int], str]) -> None:
        self._make = make
        self._number = 0

    def new(self) -> str:
        self._number += 1
        url = self._make(self._number)
        migrate(url)
        return url


def _has_workers(url: str) -> bool:
    database = Database(url, connections=1)
    try:
        with database.read() as connection:
            held = connection.execute(sa.select(leases.c.name)).scalars().all()
    finally:
        database.close()
    return set(held) >= set(WORKERS)


class Server:
    """`bench.server` on a free port of this machine."""

    def __init__(self, url: str, *, working: bool) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = {
            **os.environ,
            "ORCHESTRATOR_DATABASE_URL": url,
            "TOKPORTAL_WEBHOOK_SECRET": SECRET,
            "ORCHESTRATOR_LOG_FORMAT": "text",
        }
        mode = "working" if working else "idle"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.server", str(self.port), mode],
            env=environment,
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                if not working or _has_workers(url):
                    return
                time.sleep(0.05)
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError("the server under measurement did not start") from None
                time.sleep(0.05)

    @property
    def door(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    @property
    def bare(self) -> str:
        return f"http://127.0.0.1:{self.port}/bare"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)
