"""Which program wrote which stretch of the log.

A program is a version and the digest of the code that decides: what reads messages, what follows from them, and how
that is written down. The version is what people release; the digest tells two programs apart that call themselves the
same. Whatever else changes, the API, the read models, how commands are carried out, leaves the digest as it is: the
same journal gives the same events.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

import orchestrator
from orchestrator import __version__
from orchestrator.database.tables import programs

DECIDING = ("campaigns", "desk.py", "dialects", "documents", "domain", "engine", "log/mapper.py", "policies")
"""What of the package decides which events a journal gives."""


class Program(NamedTuple):
    version: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.version} ({self.fingerprint[:12]})"


@cache
def this_program() -> Program:
    return Program(__version__, _fingerprint(Path(orchestrator.__file__).parent))


def _fingerprint(root: Path) -> str:
    digest = hashlib.sha256()
    for name in DECIDING:
        found = root / name
        for path in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def sign(connection: sa.Connection, since: int) -> None:
    """Notes that from the position `since` on this program writes the log, if another one did, or nobody knows which;
    in the transaction that writes there."""
    last = connection.execute(sa.select(programs).order_by(programs.c.since.desc()).limit(1)).first()
    ours = this_program()
    if last is not None and (last.version, last.fingerprint) == ours:
        return
    connection.execute(programs.insert().values(since=since, version=ours.version, fingerprint=ours.fingerprint))


class Stretches:
    """Who wrote what."""

    def __init__(self, stretches: Sequence[tuple[int, Program]]) -> None:
        self._since = [since for since, _ in stretches]
        self._programs = [program for _, program in stretches]

    @classmethod
    def read(cls, connection: sa.Connection) -> Stretches:
        rows = connection.execute(sa.select(programs).order_by(programs.c.since))
        return cls([(row.since, Program(row.version, row.fingerprint)) for row in rows])

    def at(self, position: int) -> Program | None:
        """The program that wrote there; None where that was not noted yet."""
        index = bisect_right(self._since, position)
        return self._programs[index - 1] if index else None
