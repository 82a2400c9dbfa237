"""What the API is given to work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator import __version__
from orchestrator.database import Database
from orchestrator.journal.group_commit import GroupCommit

ROLES = ("viewer", "operator", "admin")
"""Each may do what those before it may."""


class Clock(Protocol):
    """The service's clock, on which messages are received."""

    def microseconds(self) -> int:
        """Microseconds since 1970, UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """Who may call, by a secret. Raises ValueError for a role that there is not, and for an empty secret."""

    name: str
    role: str
    value: str = field(repr=False)

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"the role of the token {self.name!r} must be one of {', '.join(ROLES)}")
        if not self.value:
            raise ValueError(f"the token {self.name!r} is empty")


def _no_workers() -> Mapping[str, str | None]:
    return {}


@dataclass(frozen=True, slots=True)
class Services:
    """`database` needs a connection for each of the `threads` that read, of which one is for plans; `group_commit` is
    started by its owner.

    Without `tokens` only callers on this machine are answered. `workers` tells, by name, what is wrong with each
    background worker, or None; it is called on the event loop and must not block. `speed` is how many seconds of
    `clock` pass in one real second, `read_timeout` how many real seconds a read may take, `heartbeat` the seconds
    between two signs of life on a silent stream.
    """

    database: Database
    group_commit: GroupCommit
    clock: Clock
    tokens: Sequence[Token] = ()
    workers: Callable[[], Mapping[str, str | None]] = _no_workers
    version: str = __version__
    speed: float = 1.0
    threads: int = 4
    read_timeout: float = 5.0
    heartbeat: float = 15.0
