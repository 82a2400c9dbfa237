"""What the service would run with, and what is wrong with it: looked at from outside, changing nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from orchestrator import secrets
from orchestrator.bundled import bundled
from orchestrator.database import Database
from orchestrator.database.connection import parse_url
from orchestrator.database.migrate import current, head
from orchestrator.database.tables import facts_of_database
from orchestrator.mask import Mask
from orchestrator.secrets import Secret, stored_secrets
from orchestrator.settings import Effective, Mode, Settings
from orchestrator.webhooks.endpoints import FILE, EndpointsError, load_endpoints

OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"

LOW_SPACE: Final = 1024**3
"""Bytes free below which the doctor warns."""
NO_SPACE: Final = 100 * 1024**2
"""Bytes free below which it is an error."""
SHORT_SECRET: Final = 16
"""Characters below which a webhook secret can be guessed from a signature."""
OLDEST_SQLITE: Final = (3, 35, 0)
"""The first with RETURNING."""

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `what` it is, and in `detail` how it stands and what would help."""

    level: Level
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """All settings as they apply, and all findings."""

    settings: tuple[Effective, ...]
    findings: tuple[Finding, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether the service would work: there are no errors, warnings or not."""
        return all(finding.level != ERROR for finding in self.findings)


def report(settings: Settings) -> Report:
    """Every effective value, secrets masked, with where it comes from, and what `examine` finds."""
    return Report(settings.effective, tuple(examine(settings)))


def examine(settings: Settings) -> list[Finding]:
    """Look at everything that the service stands on. TokPortal is not asked.

    Never raises: what cannot be looked at is a finding. Shows no secret. An SQLite database that is not there yet is
    not made; one that is there is opened, which may bring it up to date after a crash. Takes some seconds when a
    database server does not answer.
    """
    mask = Mask(settings.secrets)
    findings: list[Finding] = []
    for look in (_settings, _data_dir, _disk, _database, _secrets_folder, _webhooks):
        try:
            findings += look(settings)
        except Exception as error:
            findings.append(Finding(ERROR, look.__name__.strip("_"), _first_line(error)))
    return [Finding(finding.level, finding.what, mask(finding.detail)) for finding in findings]
