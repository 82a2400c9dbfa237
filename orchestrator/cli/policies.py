"""`orchestrator policy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.documents import read_text
from orchestrator.cli.explain import DocumentError
from orchestrator.cli.giving import give
from orchestrator.cli.options import Country, Json, Platform, Reason, country_of, platform_of
from orchestrator.cli.reading import load_settings, read

if TYPE_CHECKING:
    from orchestrator.documents import Problem
    from orchestrator.policies.schema import Policies

app = typer.Typer(help="Policies: what the orchestrator does by itself.", no_args_is_help=True)

File = Annotated[Path | None, typer.Argument(help="By default policies.yaml in the folder of settings.")]
UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)), ("s", timedelta(seconds=1)))


@app.command("show")
def show_(country: Country = None, platform: Platform = None, json: Json = False) -> None:
    """Show what holds for a country and platform, and where each value comes from."""
    from orchestrator.api.queries.policies import policies_in_force
    from orchestrator.policies.schema import parse

    place = country_of(country), platform_of(platform)
    if place[1] is not None and place[0] is None:
        raise typer.BadParameter("needs --country: a platform has policies within a country", param_hint="--platform")
    in_force = read(policies_in_force)
    found = parse(in_force["text"] or "").given(*place)
    values = [
        {"key": name, "value": _written(name, item.value), "from": item.where, "line": item.node.line}
        for name, item in found.items()
    ]
    for value in values:
        if value["from"] == "default":
            value["line"] = None
    known = {name: in_force[name] for name in ("sha256", "since", "position")}
    if json:
        show.write_json({"country": place[0], "platform": place[1], "values": values, **known})
        return
    show.console().print(show.table(values, "key", "value", "from"))
    show.say("")
    show.say(_version(in_force))


def _version(in_force: Mapping[str, Any]) -> str:
    if in_force["sha256"] is None:
        return "No policies are in force yet: these are the defaults, and nothing is decided."
    since = in_force["since"]
    return f"In force since {since['recorded_at']}, position {since['position']}: version {in_force['sha256'][:12]}."


def _written(name: str, value: Any) -> Any:
    """A value as the file would have it."""
    if name == "failure.codes":
        codes: dict[str, str] = {}
        for pattern, action in value:
            codes.setdefault(pattern, action)  # The first pattern that fits is the one that counts.
        return codes
    if isinstance(value, timedelta):
        unit, size = next((unit, size) for unit, size in UNITS if value % size == timedelta(0))
        return f"{value // size}{unit}"
    if isinstance(value, tuple) and value and isinstance(value[0], date):
        return value[0].isoformat() if value[0] == value[1] else f"{value[0]}..{value[1]}"
    if isinstance(value, tuple):
        return [_written("", part) for part in value]
    return value


@app.command()
def check(file: File = None, json: Json = False) -> None:
    """Say everything that is wrong with a file, and what will not work as it may seem. Exit code 1 for errors."""
    from orchestrator.documents import Refused

    path = _path(file)
    problems: list[Problem]
    try:
        policies = _parse(path)
        problems, sha256 = list(policies.warnings), policies.sha256
    except Refused as error:
        problems, sha256 = error.problems, None
    if json:
        told = {f"{level}s": [_told(p) for p in problems if p.severity == level] for level in ("error", "warning")}
        known = {"sha256": sha256} if sha256 is not None else {}
        show.write_json({"valid": sha256 is not None, **known, **told})
    else:
        _write_problems(problems)
        errors = sum(problem.severity == "error" for problem in problems)
        said = f"{errors} error{'s' if errors > 1 else ''}" if errors else "no errors"
        show.say(f"{path}: {said}.")
    if sha256 is None:
        raise typer.Exit(1)


def _told(problem: Problem) -> dict[str, Any]:
    return {name: value for name, value in asdict(problem).items() if name != "severity"}


def _write_problems(problems: list[Problem]) -> None:
    if problems:
        out = show.console()
        out.print(show.table([asdict(p) for p in problems], "severity", "line", "key", "message"))
        out.print()


@app.command()
def apply(file: File = None, reason: Reason = None, json: Json = False) -> None:
    """Put policies into force. A file with errors is refused, and the policies in force stay."""
    from orchestrator.documents import Refused

    path = _path(file)
    try:
        policies = _parse(path)
    except Refused as error:
        raise DocumentError(path, error.problems) from None
    outcome = give({"command": "policies.apply", "text": policies.text, "reason": reason})
    if not json:
        _write_problems(list(policies.warnings))
    show.outcome(outcome, json, f"{path} is in force: version {policies.sha256[:12]}.")
    own = _path(None)
    if not json and _replacement(own) not in (None, policies.text):
        again = f"{own} says something else, and replaces this when the service starts again or gets a SIGHUP."
        show.say(again, style="yellow")


def _path(file: Path | None) -> Path:
    from orchestrator.briefing import POLICIES

    return file if file is not None else load_settings().config_dir / POLICIES


def _parse(path: Path) -> Policies:
    """Raises `Refused`."""
    from orchestrator.policies.schema import LARGEST, parse

    return parse(read_text(path, LARGEST))


def _replacement(own: Path) -> str | None:
    """What the service will put into force when it reads its own file again."""
    from orchestrator.documents import Refused

    try:
        return _parse(own).text
    except (OSError, Refused):  # It refuses the file as well: what is in force stays.
        return None
