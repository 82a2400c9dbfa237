"""`orchestrator audit`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from orchestrator.cli import show
from orchestrator.cli.options import Country, Json, country_of, one_of
from orchestrator.cli.reading import load_settings, opened

if TYPE_CHECKING:
    from orchestrator.audit.findings import Report
    from orchestrator.audit.keys import PublicKey
    from orchestrator.database import Database

app = typer.Typer(help="Proves that the log is what was written, and takes it out.", no_args_is_help=True)

From = Annotated[str | None, typer.Option("--from", help="A position in the log, or a time in ISO 8601.")]
To = Annotated[str | None, typer.Option("--to", help="A position in the log, or a time in ISO 8601.")]


class AuditError(Exception):
    """The audit cannot be made; the text says why."""


@app.command()
def verify(
    from_: From = None,
    to: To = None,
    file: Annotated[
        Path | None, typer.Option("--file", exists=True, dir_okay=False, help="An export; no database is needed.")
    ] = None,
    public_key: Annotated[
        list[Path] | None,
        typer.Option("--public-key", exists=True, dir_okay=False, help="Trust this key only. May be repeated."),
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option("--checkpoints", exists=True, file_okay=False, help="The folder of checkpoints kept elsewhere."),
    ] = None,
    json: Json = False,
) -> None:
    """Hold the log against its hash chain and the signed checkpoints. Exit code 1: something was changed."""
    from orchestrator.audit.checkpoints import Outside
    from orchestrator.audit.export import verify_export
    from orchestrator.audit.verify import verify as verify_log
    from orchestrator.cli.progress import bar

    if file is not None:
        if from_ is not None or to is not None or checkpoints is not None:
            raise typer.BadParameter("an export is verified whole: --from, --to and --checkpoints are for the database")
        with bar("verifying") as progress:
            report = verify_export(file, _given(public_key), progress=progress)
    else:
        settings = load_settings()
        with opened(statement_timeout=0) as database, bar("verifying") as progress:
            outside = Outside(checkpoints) if checkpoints is not None else Outside.of(settings, database)
            first, until = _range(database, from_, to)
            keys = _given(public_key) or _known(outside)
            report = verify_log(database, keys, outside, first=first, until=until, progress=progress)
    _tell(report, json)
    if not report.is_clean:
        raise typer.Exit(1)


@app.command()
def export(
    format: Annotated[str, typer.Option(help="ndjson or csv.")] = "ndjson",
    from_: From = None,
    to: To = None,
    country: Country = None,
    bundle: Annotated[str | None, typer.Option(help="What names this bundle.")] = None,
    video: Annotated[str | None, typer.Option(help="What names this video.")] = None,
    actor: Annotated[str | None, typer.Option(help="What this person, token or policy wanted, by its name.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="An event, such as VideoPosted, or a kind of message, such as command.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="A file, which must not exist; standard output unless given, or -.")
    ] = None,
) -> None:
    """Write out messages and events with the chain and its checkpoints, to be read and verified elsewhere.

    What a filter leaves out is there as a digest, so that the rest can still be verified. --from and --to take whole
    batches.
    """
    from orchestrator.audit.checkpoints import Outside
    from orchestrator.audit.export import Filter
    from orchestrator.audit.export import export as records
    from orchestrator.audit.formats import write_csv, write_ndjson
    from orchestrator.cli.progress import bar

    write = {"ndjson": write_ndjson, "csv": write_csv}[str(one_of(format, ("ndjson", "csv"), "--format"))]
    shown = Filter(country_of(country), bundle, video, actor, kind)
    settings = load_settings()
    with opened(statement_timeout=0) as database:
        first, until = _range(database, from_, to)
        keys = _known(Outside.of(settings, database))
        with _writing(output) as out, bar("exporting") as progress:
            write(records(database, keys, shown, first=first, until=until, progress=progress), out)


@contextmanager
def _writing(path: Path | None) -> Iterator[TextIO]:
    if path is None or str(path) == "-":
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
        yield sys.stdout
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise AuditError(f"{path} exists already: an export never replaces a file") from None
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        yield file


def _given(paths: list[Path] | None) -> list[PublicKey]:
    from orchestrator.audit.keys import KeyFileError, PublicKey

    try:
        return [PublicKey.read(path) for path in paths or ()]
    except KeyFileError as error:
        raise AuditError(str(error)) from None


def _known(outside: Any) -> list[PublicKey]:
    """Every key that this installation signed with."""
    from orchestrator.audit.keys import KeyFileError, known_public_key

    try:
        own = known_public_key(load_settings())
        return [*outside.public_keys(), *([own] if own is not None else [])]
    except KeyFileError as error:
        raise AuditError(str(error)) from None


def _range(database: Database, first: str | None, until: str | None) -> tuple[int | None, int | None]:
    """Both as positions of the log; a time is that of what was recorded from then on, or until then."""
    from orchestrator.audit.verify import Reader

    with database.read() if first or until else nullcontext() as connection:
        reader = Reader(database, connection) if connection is not None else None

        def position(text: str | None, option: str, *, is_first: bool) -> int | None:
            if text is None or reader is None:
                return None
            if text.isascii() and text.isdigit():
                return int(text)
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                raise typer.BadParameter(
                    "must be a position of the log, or a time such as 2026-11-26T12:00:00Z", param_hint=option
                ) from None
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            return reader.position_at(moment, before=is_first) + int(is_first)

        return position(first, "--from", is_first=True), position(until, "--to", is_first=False)


def _tell(report: Report, json: bool) -> None:
    if json:
        show.write_json(report.to_json())
        return
    for finding in report.findings:
        show.say(finding.text[:1].upper() + finding.text[1:] + ".", style="red")
    if report.count > len(report.findings):
        show.say(f"… and {report.count - len(report.findings):,} findings more.", style="red")
    for note in report.notes:
        show.say(note[:1].upper() + note[1:] + ".", style="dim")
    looked = (
        f"{report.events:,} events and {report.messages:,} messages in {report.batches:,} batches, "
        f"{report.checkpoints:,} checkpoints"
    )
    if report.is_clean:
        show.say(f"Nothing was changed: {looked}; signed up to position {report.signed_position:,}.", style="green")
    else:
        findings = "1 finding" if report.count == 1 else f"{report.count:,} findings"
        show.say(f"{findings} in {looked}.", style="red")
