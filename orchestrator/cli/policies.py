"""`orchestrator policy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.documents import read_text
from orchestrator.cli.explain import DocumentError
from orchestrator.cli.giving import give
from orchestrator.cli.options import Country, Json, Platform, Reason, country_of, platform_of
from orchestrator.cli.progress import bar
from orchestrator.cli.reading import load_settings, opened, read
from orchestrator.cli.replay import SHOWN, From, To, stretch

if TYPE_CHECKING:
    from orchestrator.documents import Problem
    from orchestrator.policies.schema import Policies
    from orchestrator.replay.whatif import Decision, Difference, Report

app = typer.Typer(help="Policies: what the orchestrator does by itself.", no_args_is_help=True)

File = Annotated[Path | None, typer.Argument(help="By default policies.yaml in the folder of settings.")]


@app.command("show")
def show_(country: Country = None, platform: Platform = None, json: Json = False) -> None:
    """Show what holds for a country and platform, and where each value comes from."""
    from orchestrator.api.queries.policies import policies_in_force
    from orchestrator.policies.schema import parse

    place = country_of(country), platform_of(platform)
    if place[1] is not None and place[0] is None:
        raise typer.BadParameter("needs --country: a platform has policies within a country", param_hint="--platform")
    in_force = read(policies_in_force)
    values = [
        {"key": key, "value": value, "from": where, "line": line}
        for key, value, where, line in parse(in_force["text"] or "").provenance(*place)
    ]
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


@app.command("what-if")
def what_if(
    candidate: Annotated[Path, typer.Argument(help="The policies to try.")],
    first: From = None,
    last: To = None,
    json: Json = False,
) -> None:
    """Show what other policies would have decided over history, beside what was decided. Nothing is changed."""
    from orchestrator.documents import Refused
    from orchestrator.replay.whatif import what_if as run
    from orchestrator.worker import tune_collector

    try:
        policies = _parse(candidate)
    except Refused as error:
        raise DocumentError(candidate, error.problems) from None
    tune_collector()
    with opened(connections=2) as database, bar("messages") as progress:
        begin, end = stretch(database, first, last)
        report = run(database, policies.text, first=begin, last=end, progress=progress)
    if json:
        show.write_json({"candidate": policies.sha256, **report.as_dict()})
        return
    _write_problems(list(policies.warnings))
    _tell_what_if(report)


def _tell_what_if(report: Report) -> None:
    told = report.as_dict()
    out = show.console()
    if not told["kinds"]:
        show.say(f"Nothing was decided between the positions {report.first} and {report.last}, and nothing would be.")
        return
    out.print(show.table(told["kinds"], "kind", "taken", "comparable", "candidate"))
    out.print()
    out.print(show.table(told["countries"], "country", "taken", "candidate", "differences", "stopped"))
    out.print()
    for difference in report.differences[:SHOWN]:
        _tell_difference(difference)
    if report.count > SHOWN:
        show.say(f"… and {report.count - SHOWN:,} differences more; --json shows up to {len(report.differences):,}.")
    show.say("")
    stopped = len(report.stopped)
    show.say(
        f"{report.count:,} differences. History answers to the end for {len(report.subjects) - stopped:,} of the "
        f"{len(report.subjects):,} that anything was decided about, and for {stopped:,} up to where something else "
        "would have been sent: what would have come of that, nobody knows."
    )


def _besides(one: Decision, pair: tuple[Decision, Decision]) -> str:
    """Of what one of the pair says, that in which they differ."""
    was, now = (decision.what for decision in pair)
    more = [f"{name} {value}" for name, value in one.what.items() if was.get(name) != now.get(name)]
    return f" ({', '.join(more)})" if more else ""


def _tell_difference(difference: Difference) -> None:
    name = difference.subject.partition(":")[2]
    show.say(f"{difference.at}  {name}  position {difference.position}", style="bold")
    sides = {"taken": difference.taken, "candidate": difference.candidate}
    reasons = [[(one.kind, one.reason) for one in side] for side in sides.values()]
    for side, decisions in sides.items():
        said = [f"{one.kind}: {one.reason or 'no reason given'}" for one in decisions]
        if reasons[0] == reasons[1]:
            # What they say besides is what differs.
            pairs = list(zip(difference.taken, difference.candidate, strict=True))
            said = [text + _besides(one, pair) for text, one, pair in zip(said, decisions, pairs, strict=True)]
        show.say(f"  {side:10} {'; '.join(said) or 'nothing'}")
    if difference.stops is not None:
        show.say(f"  stops here {difference.stops}", style="yellow")


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
