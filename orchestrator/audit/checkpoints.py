"""Checkpoints: signed statements of what the chain was, in the database and outside of it.

What is signed is a text of a few lines, so that any tool that knows Ed25519 can check it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
import sqlalchemy as sa

from orchestrator.audit.keys import PublicKey, SigningKey
from orchestrator.database import Database
from orchestrator.database.tables import checkpoints as table
from orchestrator.settings import Settings

FOLDER: Final = "audit"
HEAD: Final = "head.json"
LOG: Final = "checkpoints.ndjson"
KEYS: Final = "keys"


class Checkpoint(NamedTuple):
    """The chain's `digest` at `batch`, which ends with event `position` and message `applied`; signed `at` a time of
    the real clock.

    `lost_after`: the database was restored from a backup, and what it had after this batch is gone for good; earlier
    checkpoints of later batches count no more. `restored` then names the backup.
    """

    batch: int
    position: int
    applied: int
    digest: bytes
    at: str
    key_id: str
    signature: bytes
    lost_after: int | None = None
    restored: str | None = None

    def statement(self) -> bytes:
        """What is signed."""
        lines = [
            "orchestrator checkpoint 1" if self.lost_after is None else "orchestrator restored 1",
            f"batch {self.batch}",
            f"position {self.position}",
            f"applied {self.applied}",
            f"digest {self.digest.hex()}",
            f"at {self.at}",
            f"key {self.key_id}",
        ]
        if self.lost_after is not None:
            lines += [f"lost-after {self.lost_after}", f"restored {self.restored}"]
        return ("\n".join(lines) + "\n").encode()

    def signed(self, key: SigningKey) -> Checkpoint:
        named = self._replace(key_id=key.public.key_id)
        return named._replace(signature=key.sign(named.statement()))

    def is_proved_by(self, keys: dict[str, PublicKey]) -> bool:
        """Whether one of these keys, by their ids, signed it."""
        key = keys.get(self.key_id)
        return key is not None and key.proves(self.signature, self.statement())

    def to_json(self) -> dict[str, Any]:
        written = self._asdict() | {"digest": self.digest.hex(), "signature": self.signature.hex()}
        return {name: value for name, value in written.items() if value is not None}


class _Written(msgspec.Struct):
    batch: int
    position: int
    applied: int
    digest: str
    at: str
    key_id: str
    signature: str
    lost_after: int | None = None
    restored: str | None = None


_decode = msgspec.json.Decoder(_Written).decode


def from_json(data: bytes) -> Checkpoint:
    """Raises ValueError."""
    return _checkpoint(_decode(data))


def checkpoint_of(values: dict[str, Any]) -> Checkpoint:
    """Raises ValueError."""
    return _checkpoint(msgspec.convert(values, _Written))


def _checkpoint(read: _Written) -> Checkpoint:
    values = msgspec.structs.asdict(read)
    return Checkpoint(**{**values, "digest": bytes.fromhex(read.digest), "signature": bytes.fromhex(read.signature)})


def store(connection: sa.Connection, checkpoint: Checkpoint) -> None:
    """Two may sign the same batch: the first one stands."""
    columns = {name: value for name, value in checkpoint._asdict().items() if name in table.c}
    connection.execute(
        sa.text(
            "INSERT INTO checkpoints (batch, position, applied, digest, at, key_id, signature) "
            "VALUES (:batch, :position, :applied, :digest, :at, :key_id, :signature) ON CONFLICT (batch) DO NOTHING"
        ),
        columns,
    )


def stored(connection: sa.Connection, first: int, last: int) -> list[Checkpoint]:
    """Those of the batches from `first` to `last`."""
    query = sa.select(table).where(table.c.batch.between(first, last)).order_by(table.c.batch)
    return [Checkpoint(*row) for row in connection.execute(query)]


def _ends_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


class Outside:
    """The folder beside the database that knows how far the chain had got: whoever can change the database cannot,
    by that, change what stands here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, settings: Settings, database: Database) -> Outside:
        """Each database has its own folder: several may share a data directory."""
        name = database.path.stem if database.is_sqlite else str(database.url.database)
        return cls(settings.data_dir / FOLDER / name)

    @property
    def log(self) -> Path:
        return self.folder / LOG

    def head(self) -> Checkpoint | None:
        """The newest. Raises ValueError where it cannot be read."""
        path = self.folder / HEAD
        try:
            return from_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{path} is no checkpoint: {error}") from None

    def add(self, checkpoint: Checkpoint, key: PublicKey) -> None:
        """Adds to the log, then replaces the head; both are on disk afterwards."""
        keys = self.folder / KEYS
        keys.mkdir(mode=0o755, parents=True, exist_ok=True)
        known = keys / f"{key.key_id}.pub"
        if not known.exists():
            known.write_text(key.pem(), "ascii")
        line = msgspec.json.encode(checkpoint.to_json())
        with self.log.open("ab+") as file:
            if file.tell() and not _ends_line(file):
                file.write(b"\n")  # Whoever was killed while writing left a part of a line.
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft = self.folder / f".{HEAD}"
        with draft.open("wb") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.folder / HEAD)

    def public_keys(self) -> list[PublicKey]:
        """Every key that ever signed here."""
        return [PublicKey.read(path) for path in sorted((self.folder / KEYS).glob("*.pub"))]

    def read(self) -> Iterator[tuple[int, Checkpoint | None]]:
        """Every line of the log with its number; None for one that cannot be read."""
        if not self.log.exists():
            return
        with self.log.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield number, from_json(line)
                except ValueError:
                    yield number, None

    def put_aside(self) -> Path:
        """Makes room for the log of another database; where the old one is now."""
        number = 1
        while (aside := self.folder.with_name(f"{self.folder.name}.gone-{number}")).exists():
            number += 1
        return self.folder.rename(aside)

    def aside(self) -> list[Path]:
        """What was put aside."""
        return sorted(self.folder.parent.glob(f"{self.folder.name}.gone-*"))
