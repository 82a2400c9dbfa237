"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json as jsonlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from orchestrator.cli.giving import Outcome
    from orchestrator.doctor import Report

UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Characters that would move the cursor, colour the terminal or turn the direction of writing."""
MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?Z")
WHOLE = re.compile(r"(?:vid|cmp|cmd|msg)_[0-9a-f]{32}")
"""Ids that people copy from a table: no line ends within one."""
PROSE = frozenset({"data", "found", "from", "message", "notes", "progress", "reason", "refs", "value", "why"})
"""Columns whose texts may take several lines, so that the others keep to one."""
LEAST_PROSE = 16
LONGEST_DATA = 300
"""Characters of a nested value in a table; JSON has all of it."""
COLOURS = {
    "posted": "green",
    "completed": "green",
    "applied": "green",
    "done": "green",
    "ok": "green",
    "failed": "red",
    "abandoned": "red",
    "banned": "red",
    "error": "red",
    "dead": "red",
    "quarantined": "red",
    "conflict": "red",
    "warning": "yellow",
    "waiting": "yellow",
    "held": "yellow",
    "unrecognised": "yellow",
    "running": "cyan",
    "warming": "cyan",
}


def console() -> Console:
    # A pipe has no width: nothing is cut there.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Tells a person at a terminal what is being waited for."""
    terminal = Console(stderr=True)
    if not terminal.is_terminal:
        yield
        return
    with terminal.status(safe(what)):
        yield


def write_json(value: Any) -> None:
    sys.stdout.write(jsonlib.dumps(value, indent=2, ensure_ascii=False) + "\n")


def safe(text: str) -> str:
    """`text`, which cannot act on the terminal."""
    return UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def cell(value: Any) -> Text:
    """`value` as a person reads it. Whatever the vendor sent, it cannot act on the terminal."""
    if value is None or value in ([], {}):
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = ", ".join(value)
    elif isinstance(value, dict) and not any(isinstance(part, dict | list) for part in value.values()):
        value = ", ".join(f"{name}: {cell(part)}" for name, part in value.items())
    elif isinstance(value, dict | list):
        value = jsonlib.dumps(value, ensure_ascii=False)
        if len(value) > LONGEST_DATA:
            value = f"{value[:LONGEST_DATA]} …"
    text = MOMENT.sub(r"\1 \2Z", safe(str(value)))
    return Text(text, style=COLOURS.get(text, ""))


def table(rows: Sequence[Mapping[str, Any]], *columns: str) -> Table:
    """`rows` under the names of their columns."""
    cells = [[cell(row.get(column)) for row in rows] for column in columns]
    widths = [
        max(cell_len(name), *(text.cell_len for text in texts)) for name, texts in zip(columns, cells, strict=True)
    ]
    least = [min(width, LEAST_PROSE) if name in PROSE else width for name, width in zip(columns, widths, strict=True)]
    is_wide_enough = sum(least) + 2 * (len(columns) - 1) <= console().width
    made = Table(box=None, header_style="bold", pad_edge=False)
    for name, texts in zip(columns, cells, strict=True):
        is_whole = any(WHOLE.fullmatch(text.plain) for text in texts)
        made.add_column(name, overflow="fold", no_wrap=is_whole or (is_wide_enough and name not in PROSE))
    for row in zip(*cells, strict=True):
        made.add_row(*row)
    return made


def page(page: Mapping[str, Any], json: bool, *columns: str) -> None:
    """A list as the API answers it, and how to go on."""
    if json:
        write_json(page)
        return
    out = console()
    if not page["items"]:
        out.print("Nothing found.")
        return
    out.print(table(page["items"], *columns))
    more(out, page)


def more(out: Console, page: Mapping[str, Any]) -> None:
    if page.get("next"):
        out.print(f"\nThere is more: --cursor {page['next']}", style="dim")


def say(sentence: str, style: str = "") -> None:
    """A sentence to a person."""
    console().print(Text(safe(sentence), style=style))


def item(item: Mapping[str, Any], json: bool) -> None:
    """One thing, a line for each of its properties."""
    if json:
        write_json(item)
        return
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in item.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for number, part in enumerate(value):
                made.add_row(name if number == 0 else "", cell(part))
        else:
            made.add_row(name, cell(value))
    console().print(made)


def told(outcome: Outcome) -> dict[str, str]:
    """What programs are told of an order's message."""
    return {"message_id": outcome.message_id, "status": outcome.status}


def outcome(outcome: Outcome, json: bool, done: str) -> None:
    """What became of an order; `done` is the sentence for one that was applied."""
    if json:
        write_json(told(outcome))
        return
    sentence = done if outcome.note is None else f"Journalled; {outcome.note}."
    say(sentence)
    say(f"The order's message is {outcome.message_id}.", style="dim")


def doctor(report: Report, json: bool) -> None:
    """All settings, then all findings."""
    settings = [{"variable": s.variable, "value": s.value, "source": s.source} for s in report.settings]
    findings = [{"level": f.level, "what": f.what, "detail": f.detail} for f in report.findings]
    if json:
        write_json({"settings": settings, "findings": findings})
        return
    out = console()
    rows = [{"setting": s["variable"], "value": s["value"], "from": s["source"]} for s in settings]
    out.print(table(rows, "setting", "value", "from"))
    out.print()
    rows = [{"": f["level"], "checked": f["what"], "found": f["detail"]} for f in findings]
    out.print(table(rows, "", "checked", "found"))
