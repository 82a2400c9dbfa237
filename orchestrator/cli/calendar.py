"""A campaign's calendar on a terminal: for each market a grid of accounts and days, then what could not be placed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.cli import show

GAP = 2
"""Columns of the terminal between two columns of a grid."""
DAY = 5
"""Columns that a day takes at least: `12-24`."""
SHOWN = 5
"""How many of the videos are named that are unmet for one reason."""

Item = Mapping[str, Any]


def write(answer: Item) -> None:
    """The plan of a campaign: `plan`, `unmet` and `notes`."""
    out = show.console()
    placed = [item for item in answer["plan"] if item["bundle_id"] is not None and item["target_day"] is not None]
    markets: defaultdict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in placed:
        markets[str(item["platform"]), str(item["country"])].append(item)
    for (platform, country), items in sorted(markets.items()):
        _write_market(out, f"{platform} in {country}", items)
    unmet = answer["unmet"]
    if unmet:
        out.print(_unmet(unmet))
        out.print()
    for note in answer["notes"]:
        out.print(Text(show.safe(f"Note: {note}."), style="yellow"))
    out.print(_summary(placed, unmet))


def _write_market(out: Console, title: str, items: Sequence[Item]) -> None:
    cells: defaultdict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        cells[item["bundle_id"], item["target_day"]].append(item)
    bundles = sorted({bundle for bundle, _ in cells})
    days = sorted({day for _, day in cells})
    out.print(Text(show.safe(f"{title}: {_count(items, 'video')} on {_count(bundles, 'account')}"), style="bold"))
    account = max(cell_len(show.safe(name)) for name in (*bundles, "account"))
    widths = [
        max(DAY, *(cell_len(show.safe(item["ref"])) for item in items if item["target_day"] == day)) for day in days
    ]
    if account + sum(width + GAP for width in widths) <= out.width:
        out.print(_grid(bundles, days, cells, _refs))
    else:
        at_once = max(1, (out.width - account) // (DAY + GAP))
        for part in (days[start : start + at_once] for start in range(0, len(days), at_once)):
            out.print(_grid(bundles, part, cells, _number))
    out.print()


def _grid(
    bundles: Iterable[str],
    days: Sequence[str],
    cells: Mapping[tuple[str, str], Sequence[Item]],
    cell: Any,
) -> Table:
    grid = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    grid.add_column("account", no_wrap=True)
    for day in days:
        grid.add_column(f"{date.fromisoformat(day):%a\n%m-%d}", no_wrap=True)
    for bundle in bundles:
        grid.add_row(show.cell(bundle), *(cell(cells.get((bundle, day), ())) for day in days))
    return grid


def _refs(items: Sequence[Item]) -> Text:
    return Text("\n").join(_named(item) for item in items) if items else Text("·", style="dim")


def _named(item: Item) -> Text:
    return Text(show.safe(item["ref"]), style=show.COLOURS.get(item.get("state", ""), ""))


def _number(items: Sequence[Item]) -> Text:
    return Text(str(len(items))) if items else Text("·", style="dim")


def _unmet(unmet: Iterable[Item]) -> Table:
    """One line for each reason in a market."""
    alike: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for item in unmet:
        alike[item["platform"] or "-", item["country"] or "-", item["reason"] or "-"].append(item["ref"])
    rows = []
    for (platform, country, reason), refs in sorted(alike.items()):
        named = list(dict.fromkeys(refs))
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        rows.append(
            {
                "unmet": len(refs),
                "platform": platform,
                "country": country,
                "reason": reason,
                "refs": ", ".join(named[:SHOWN]) + more,
            }
        )
    return show.table(rows, "unmet", "platform", "country", "reason", "refs")


def _summary(placed: Sequence[Item], unmet: Sequence[Item]) -> Text:
    accounts = {item["bundle_id"] for item in placed}
    days = sorted(item["target_day"] for item in placed)
    first_to_last = " to ".join(dict.fromkeys([days[0], days[-1]])) if days else ""
    where = f" on {_count(accounts, 'account')}, {first_to_last}" if placed else ""
    total = _count([*placed, *unmet], "video")
    return Text(show.safe(f"{total}: {len(placed):,} placed{where}; {len(unmet):,} unmet."))


def _count(items: Any, what: str) -> str:
    return f"{len(items):,} {what}{'s' if len(items) != 1 else ''}"
