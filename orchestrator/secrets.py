"""Secrets: values that do not show themselves, and the folder `secrets` of the data directory."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

FOLDER: Final = "secrets"
"""Name of the folder inside the data directory."""

_WEBHOOK: Final = "webhook"
_SANDBOX: Final = "sandbox"
_AUDIT: Final = "audit-key"
_ENDPOINT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_BYTES: Final = 32


class SecretError(ValueError):
    """A file of secrets cannot be used; the text names it and shows nothing of it."""


class Secret:
    """A text that `str`, `repr` and formatting mask: `***` and its fingerprint, so that two of them can be told apart.

    Only `reveal` gives the value. Two secrets are equal when their values are.
    """

    __slots__ = ("_shown", "_value")

    def __init__(self, value: str, shown: str | None = None) -> None:
        """`shown` replaces the mask, for a value of which a part may be seen (a URL with a password inside)."""
        self._value = value
        self._shown = shown

    def reveal(self) -> str:
        """The value itself. Where it goes from there is the caller's responsibility."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """The first 8 hex digits of the SHA-256 of the value, as signature checks name the secret that matched."""
        return sha256(self._bytes()).hexdigest()[:8]

    def __str__(self) -> str:
        return self._shown if self._shown is not None else f"***{self.fingerprint}"

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __format__(self, specification: str) -> str:
        return format(str(self), specification)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._bytes(), other._bytes())

    def __hash__(self) -> int:
        return hash(self._value)

    def _bytes(self) -> bytes:
        # The environment gives what is not UTF-8 as lone surrogates; "surrogateescape" is the way back.
        return self._value.encode("utf-8", "surrogateescape")


def split_secrets(text: str) -> tuple[Secret, ...]:
    """The secrets in a comma separated list, each once, in order; white space around them and empty parts are dropped.

    Several secrets stand side by side while one is rotated.
    """
    parts = [part.strip() for part in text.split(",")]
    return tuple(Secret(part) for part in dict.fromkeys(parts) if part)


def sandbox_secret(data_dir: Path) -> Secret:
    """The webhook secret of a sandbox world: made at the first call, the same ever after.

    It is kept in `data_dir/secrets/sandbox`, out of the way of `stored_secrets`, readable by its owner alone. Processes
    that call this at the same time all get the one secret that was stored first.

    Raises:
        OSError: the file cannot be read or written.
        SecretError: the file is blank, which this program never leaves behind.
    """
    return _made_once(data_dir / FOLDER / _SANDBOX, "secret: delete the file, and a new one is made")


def known_sandbox_secret(data_dir: Path) -> Secret | None:
    """The secret of the sandbox world that lives in `data_dir`, if one does. Raises OSError."""
    path = data_dir / FOLDER / _SANDBOX
    return _read(path) if path.is_file() else None


def audit_key(data_dir: Path) -> Secret:
    """The key that signs checkpoints where none is configured: 32 bytes as hex digits, made at the first call and kept
    in `data_dir/secrets/audit-key`, readable by its owner alone.

    Raises:
        OSError: the file cannot be read or written.
        SecretError: the file is blank, which this program never leaves behind.
    """
    return _made_once(data_dir / FOLDER / _AUDIT, "key: put the one back that was there, or delete it for a new one")


def _made_once(path: Path, lacking: str) -> Secret:
    """The secret in `path`, made if there is no such file; `lacking`: what it holds none of, and what to do then."""
    if not path.exists():
        _create(path, secrets.token_hex(_BYTES))
    secret = _read(path)
    if secret is None:
        raise SecretError(f"{path} holds no {lacking}.")
    return secret


def known_audit_key(data_dir: Path) -> Secret | None:
    """The key that was made for this data directory, if one was. Raises OSError."""
    path = data_dir / FOLDER / _AUDIT
    return _read(path) if path.is_file() else None


def stored_secrets(data_dir: Path) -> list[Secret]:
    """Every webhook secret that the folder `secrets` holds, one a file, by file name; empty without the folder.

    Raises:
        OSError: a file cannot be read.
    """
    found = [_read(path) for path in sorted((data_dir / FOLDER).glob(f"{_WEBHOOK}*")) if path.is_file()]
    return [secret for secret in found if secret is not None]


def stored_version(data_dir: Path) -> tuple[tuple[str, int], ...]:
    """Changes whenever `stored_secrets` would give something else: the names of its files, and when they were written.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        with os.scandir(data_dir / FOLDER) as entries:
            found = [(entry.name, entry.stat().st_mtime_ns) for entry in entries if entry.name.startswith(_WEBHOOK)]
    except FileNotFoundError:
        return ()
    return tuple(sorted(found))


def store_webhook_secret(data_dir: Path, endpoint_id: str, value: str) -> None:
    """Keep the secret of an endpoint at TokPortal, which shows it once. It is among `stored_secrets` from then on.

    Raises:
        OSError: the file cannot be written.
        SecretError: there is another secret for this endpoint, or its id is no name for a file.
    """
    path = _webhook_path(data_dir, endpoint_id)
    _create(path, value)
    if _read(path) != Secret(value.strip()):
        raise SecretError(f"{path} holds another secret already: delete the endpoint, and register anew.")


def stored_webhook_secret(data_dir: Path, endpoint_id: str) -> Secret | None:
    """The secret that is kept for an endpoint, if there is one. Raises OSError."""
    if not _ENDPOINT.fullmatch(endpoint_id):
        return None
    path = _webhook_path(data_dir, endpoint_id)
    return _read(path) if path.is_file() else None


def forget_webhook_secret(data_dir: Path, endpoint_id: str) -> bool:
    """Remove the secret of an endpoint; whether there was one. Raises OSError."""
    if stored_webhook_secret(data_dir, endpoint_id) is None:
        return False
    _webhook_path(data_dir, endpoint_id).unlink()
    return True


def _webhook_path(data_dir: Path, endpoint_id: str) -> Path:
    if not _ENDPOINT.fullmatch(endpoint_id):
        raise SecretError(f"the endpoint's id {endpoint_id[:80]!r} cannot name a file.")
    return data_dir / FOLDER / f"{_WEBHOOK}-{endpoint_id}"


def _read(path: Path) -> Secret | None:
    text = path.read_text("utf-8", "surrogateescape").strip()
    return Secret(text) if text else None


def _create(path: Path, value: str) -> None:
    """Give `path` the content `value`, unless it exists by then. It is never seen half written."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A folder on a mounted volume may not be ours to change; the doctor says when it is open to others.
    with suppress(PermissionError):
        path.parent.chmod(0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{value}\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, since a rename would replace what another process has stored in the meantime.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
