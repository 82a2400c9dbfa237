"""Errors that a person can mend, as one sentence."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.show import safe

if TYPE_CHECKING:
    from orchestrator.documents import Problem


class DocumentError(Exception):
    """A file cannot be used; the text says all that is wrong with it."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        number = "an error" if len(problems) == 1 else f"{len(problems)} errors"
        lines = "".join(f"\n  {path}:{safe(str(problem))}" for problem in problems)
        super().__init__(f"{path} has {number}: nothing was changed{lines}")


def explain(error: Exception) -> str | None:
    """One sentence for an error that a person can mend; None for one that is ours."""
    import typer
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    from orchestrator.api.cursors import BadCursor
    from orchestrator.api.queries.moments import BadMoment
    from orchestrator.backup.error import BackupError
    from orchestrator.cli.audit import AuditError
    from orchestrator.cli.giving import RefusedOrderError
    from orchestrator.cli.projections import RebuildFailedError
    from orchestrator.cli.reading import NotFoundError
    from orchestrator.database.migrate import SchemaError
    from orchestrator.demo.world import DemoError
    from orchestrator.secrets import SecretError
    from orchestrator.settings import SettingsError
    from orchestrator.simulate import SimulateError
    from orchestrator.tokportal.registration import RegistrationError
    from orchestrator.webhooks.endpoints import EndpointsError
    from orchestrator.world import OtherWorldError

    if isinstance(error, typer.TyperException):
        usage = getattr(error, "format_message", None)
        return str(usage() if usage is not None else error)
    if isinstance(
        error,
        SettingsError
        | SecretError
        | SchemaError
        | OtherWorldError
        | EndpointsError
        | SimulateError
        | RegistrationError
        | NotFoundError
        | RefusedOrderError
        | RebuildFailedError
        | DocumentError
        | DemoError
        | BackupError
        | AuditError,
    ):
        return str(error)
    if isinstance(error, CommandError):
        return f"the schema cannot be moved there: {error}"
    if isinstance(error, BadCursor):
        return "--cursor is not one that this list gave"
    if isinstance(error, BadMoment):
        return f"--as-of: {error}"
    if isinstance(error, SQLAlchemyError):
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return f"the database cannot be used: {cause}"
    if isinstance(error, OSError):
        if error.errno == errno.EADDRINUSE:
            return "the address is already in use: is the service running? Set ORCHESTRATOR_PORT to use another port"
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    return None
