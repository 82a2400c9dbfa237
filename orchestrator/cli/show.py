"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json as jsonlib
import re
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.doctor import Report

UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""Characters that would move the cursor, colour the terminal or turn the direction of writing."""
COLOURS = {
    "posted": "green",
    "completed": "green",
    "applied": "green",
    "ok": "green",
    "failed": "red",
    "banned": "red",
    "error": "red",
    "quarantined": "red",
    "conflict": "red",
    "warning": "yellow",
    "unrecognised": "yellow",
    "warming": "cyan",
}


def _console() -> Console:
    # A pipe has no width: nothing is cut there.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)


def _write_json(value: Any) -> None:
    sys.stdout.write(jsonlib.dumps(value, indent=2, ensure_ascii=False) + "\n")


def cell(value: Any) -> Text:
    """`value` as a person reads it. Whatever the vendor sent, it cannot act on the terminal."""
    if value is None or value in ([], {}):
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = ", ".join(value)
    elif isinstance(value, dict | list):
        value = jsonlib.dumps(value, ensure_ascii=False)
    text = UNSAFE.sub("\N{REPLACEMENT CHARACTER}", str(value))
    return Text(text, style=COLOURS.get(text, ""))


def page(page: Mapping[str, Any], json: bool, *columns: str) -> None:
    """A list as the API answers it, and how to go on."""
    if json:
        _write_json(page)
        return
    console = _console()
    if not page["items"]:
        console.print("Nothing found.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for item in page["items"]:
        table.add_row(*(cell(item.get(column)) for column in columns))
    console.print(table)
    if page.get("next"):
        console.print(f"\nThere is more: --cursor {page['next']}", style="dim")


def item(item: Mapping[str, Any], json: bool) -> None:
    """One thing, a line for each of its properties."""
    if json:
        _write_json(item)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in item.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for number, part in enumerate(value):
                table.add_row(name if number == 0 else "", cell(part))
        else:
            table.add_row(name, cell(value))
    _console().print(table)


def doctor(report: Report, json: bool) -> None:
    """All settings, then all findings."""
    if json:
        _write_json(
            {
                "settings": [{"variable": s.variable, "value": s.value, "source": s.source} for s in report.settings],
                "findings": [{"level": f.level, "what": f.what, "detail": f.detail} for f in report.findings],
            }
        )
        return
    console = _console()
    settings = Table("setting", "value", "from", box=None, header_style="bold", pad_edge=False)
    for setting in report.settings:
        settings.add_row(cell(setting.variable), cell(setting.value), cell(setting.source))
    console.print(settings)
    console.print()
    findings = Table("", "checked", "found", box=None, header_style="bold", pad_edge=False)
    for finding in report.findings:
        findings.add_row(cell(finding.level), cell(finding.what), cell(finding.detail))
    console.print(findings)
