"""`orchestrator campaigns`, which looks, and `orchestrator campaign`, which acts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import calendar, show
from orchestrator.cli.documents import read_bytes, read_text
from orchestrator.cli.explain import DocumentError
from orchestrator.cli.giving import RefusedOrderError, give, waited
from orchestrator.cli.options import (
    Country,
    Cursor,
    Json,
    Limit,
    Platform,
    Reason,
    country_of,
    given,
    one_of,
    platform_of,
)
from orchestrator.cli.reading import NotFoundError, found, opened, read

if TYPE_CHECKING:
    import sqlalchemy as sa

    from orchestrator.campaigns import CampaignSpec

campaigns = typer.Typer(help="Campaigns and how far they are.", no_args_is_help=True)
campaign = typer.Typer(help="Plan a campaign, and start, pause, resume or cancel it.", no_args_is_help=True)

ID = re.compile("cmp_[0-9a-f]{32}")

Named = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Its name or id.")]
CsvName = Annotated[str | None, typer.Option("--name", help="CSV only: the campaign's name.")]
CsvGroup = Annotated[str | None, typer.Option("--group", help="CSV only: its group.")]
CsvStarts = Annotated[str | None, typer.Option("--starts", help="CSV only: its first day.")]
CsvEnds = Annotated[str | None, typer.Option("--ends", help="CSV only: its last day.")]
CsvAds = Annotated[bool | None, typer.Option("--disclose-as-ads/--not-as-ads", help="CSV only, and must be stated.")]
CsvAi = Annotated[
    bool | None, typer.Option("--ai-content-disclaimer/--no-ai-content", help="CSV only, and must be stated.")
]


def id_of(name: str) -> str:
    """The id of the campaign that a person calls by its name, or by its id."""
    from orchestrator.campaigns import spec

    return name if ID.fullmatch(name) else spec.id_of(name)


# Looking


@campaigns.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="draft, running, paused, completed or cancelled.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """List campaigns by name, with their progress."""
    from orchestrator.api.queries.campaigns import list_campaigns
    from orchestrator.domain.campaign import STATUSES

    filters = given(status=one_of(status, STATUSES, "--status"))
    page = read(lambda c: list_campaigns(c, **filters, limit=limit, cursor=cursor))
    rows = [{**item, "progress": item["progress"]["by_state"]} for item in page["items"]]
    columns = ("name", "status", "group", "starts", "ends", "videos", "progress")
    show.page(page if json else {**page, "items": rows}, json, *columns)


@campaigns.command("show")
def show_(name: Named, json: Json = False) -> None:
    """Show one campaign and its progress. Its calendar is shown by `orchestrator campaign plan`."""
    from orchestrator.api.queries.campaigns import campaign_item

    item = found(read(lambda c: campaign_item(c, id_of(name))), "campaign", name)
    if json:
        show.write_json(item)
        return
    progress = item["progress"]
    hidden = ("plan", "unmet", "progress")
    show.item({**{key: value for key, value in item.items() if key not in hidden}, **progress}, json)


# Acting


@campaign.command()
def plan(
    what: Annotated[str, typer.Argument(metavar="FILE|CAMPAIGN", help="A file in YAML, JSON or CSV; a name or id.")],
    name: CsvName = None,
    group: CsvGroup = None,
    starts: CsvStarts = None,
    ends: CsvEnds = None,
    country: Country = None,
    platform: Platform = None,
    disclose_as_ads: CsvAds = None,
    ai_content_disclaimer: CsvAi = None,
    json: Json = False,
) -> None:
    """Show a campaign's calendar, and change nothing: of a file as it would be if it were started now; of a campaign as
    it was drafted, and since its start as it is."""
    path = Path(what)
    settings = {
        "name": name,
        "group": group,
        "starts": starts,
        "ends": ends,
        "country": country,
        "platform": platform,
        "disclose_as_ads": disclose_as_ads,
        "ai_content_disclaimer": ai_content_disclaimer,
    }
    if path.is_file():
        answer, _, _ = _survey(_read_spec(path, settings))
    elif given(**settings):
        raise NotFoundError(f"there is no file {what}")
    else:
        answer = read(lambda c: _planned(c, what))
    if json:
        show.write_json(answer)
    else:
        calendar.write(answer)


def _planned(connection: sa.Connection, name: str) -> dict[str, Any]:
    from orchestrator.api.queries.campaigns import campaign_item

    item = campaign_item(connection, id_of(name))
    if item is None:
        raise NotFoundError(f"there is neither a file nor a campaign {name!r}")
    return {"notes": [], **{key: item[key] for key in ("campaign_id", "status", "plan", "unmet", "position")}}


@campaign.command()
def create(
    file: Annotated[Path, typer.Argument(help="A campaign in YAML, JSON or CSV.")],
    name: CsvName = None,
    group: CsvGroup = None,
    starts: CsvStarts = None,
    ends: CsvEnds = None,
    country: Country = None,
    platform: Platform = None,
    disclose_as_ads: CsvAds = None,
    ai_content_disclaimer: CsvAi = None,
    json: Json = False,
) -> None:
    """Draft a campaign from a file and show its calendar. A draft reserves nothing until it is started."""
    settings = {
        "name": name,
        "group": group,
        "starts": starts,
        "ends": ends,
        "country": country,
        "platform": platform,
        "disclose_as_ads": disclose_as_ads,
        "ai_content_disclaimer": ai_content_disclaimer,
    }
    spec = _read_spec(file, settings)
    answer, order, known = _survey(spec)
    outcome = give(order, once=f"{spec.campaign_id}:{spec.digest}") if known is None else None
    if json:
        show.write_json({**answer, "message": show.told(outcome) if outcome is not None else None})
        return
    calendar.write(answer)
    if outcome is not None:
        show.outcome(outcome, json, f"Drafted. To start it: orchestrator campaign start {quote(spec.name)}")
    else:
        show.say(f"The campaign {spec.name} is there already: {known}.")


def _survey(spec: CampaignSpec) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    """What would become of it now, the order that drafts it so, and the status of the same campaign where there is one:
    what was started is shown as it stands. Raises `RefusedOrderError` where the name is taken."""
    from orchestrator.api.queries.campaigns import campaign_entry
    from orchestrator.api.queries.page import log_head
    from orchestrator.planning import draft
    from orchestrator.world import clock_of

    with opened() as database, show.working(f"planning {len(spec.videos):,} videos …"):
        now = clock_of(database).now()
        with database.read() as connection:
            known = campaign_entry(connection, spec.campaign_id)
            if known is not None and known.digest != spec.digest:
                raise RefusedOrderError(
                    f"there is a campaign {spec.name!r} with other content: give this one another name"
                )
            if known is not None and known.status != "draft":
                # Planned anew, its own videos would stand in its way.
                return _planned(connection, spec.campaign_id), {}, known.status
            drafted = draft(connection, database, spec, now)
            answer = {
                "campaign_id": spec.campaign_id,
                "status": "draft",
                "plan": drafted.plan(),
                "unmet": drafted.unmet(),
                "notes": list(drafted.notes),
                "position": log_head(connection),
            }
            return answer, drafted.order(spec), known.status if known is not None else None


def _read_spec(path: Path, settings: Mapping[str, Any]) -> CampaignSpec:
    """Raises `DocumentError` with everything that is wrong."""
    from orchestrator.campaigns import read_document
    from orchestrator.campaigns.files import LARGEST
    from orchestrator.documents import Refused

    try:
        with show.working(f"reading {path} …"):
            if path.suffix.lower() == ".csv":
                return _read_csv(path, settings)
            for key in given(**settings):
                option = f"--{key.replace('_', '-')}"
                raise typer.BadParameter("is for CSV only: the file says it itself", param_hint=option)
            return read_document(read_text(path, LARGEST))
    except Refused as error:
        raise DocumentError(path, error.problems) from None


def _read_csv(path: Path, settings: Mapping[str, Any]) -> CampaignSpec:
    from orchestrator.campaigns import read_csv
    from orchestrator.campaigns.files import LARGEST

    missing = [
        option
        for name, option in (
            ("name", "--name"),
            ("disclose_as_ads", "--disclose-as-ads or --not-as-ads"),
            ("ai_content_disclaimer", "--ai-content-disclaimer or --no-ai-content"),
        )
        if settings[name] is None
    ]
    if missing:
        raise typer.BadParameter(f"a campaign in CSV needs {', '.join(missing)}: there is no default")
    return read_csv(
        read_bytes(path, LARGEST),
        name=settings["name"],
        group=settings["group"] or "default",
        starts=_day(settings["starts"], "--starts"),
        ends=_day(settings["ends"], "--ends"),
        country=country_of(settings["country"]),
        platform=platform_of(settings["platform"]),
        disclose_as_ads=settings["disclose_as_ads"],
        ai_content_disclaimer=settings["ai_content_disclaimer"],
    )


def _day(text: str | None, option: str) -> date | None:
    try:
        return date.fromisoformat(text) if text is not None else None
    except ValueError:
        raise typer.BadParameter("must be a day that exists, such as 2026-12-24", param_hint=option) from None


@campaign.command()
def start(name: Named, reason: Reason = None, json: Json = False) -> None:
    """Start a draft: its videos are placed, as far as still possible as they were drafted."""
    shown = f"How far it is: orchestrator campaigns show {quote(name)}"
    _order("start", name, reason, json, f"Started. {shown}", f"Started, and its videos are still being placed. {shown}")


@campaign.command()
def pause(name: Named, reason: Reason = None, json: Json = False) -> None:
    """Pause a campaign: nothing more of it is handed to TokPortal; what TokPortal has stays there."""
    _order("pause", name, reason, json, "Paused.")


@campaign.command()
def resume(name: Named, reason: Reason = None, json: Json = False) -> None:
    """Resume a campaign: videos whose day has passed get another."""
    _order("resume", name, reason, json, "Resumed.")


@campaign.command()
def cancel(name: Named, reason: Reason = None, json: Json = False) -> None:
    """Cancel a campaign, and with it every video that is not posted yet."""
    _order("cancel", name, reason, json, "Cancelled.", "Cancelled, and its videos are still being cancelled.")


def _order(verb: str, name: str, reason: str | None, json: bool, done: str, going_on: str | None = None) -> None:
    """`going_on` is said in place of `done` where the order is applied and its work goes on for long."""
    from orchestrator.api.queries.campaigns import is_settled
    from orchestrator.api.queries.exists import known_campaign

    campaign_id = found(read(lambda c: known_campaign(c, id_of(name))), "campaign", name)
    outcome = give({"command": f"campaign.{verb}", "campaign_id": campaign_id, "reason": reason})
    if going_on is not None and outcome.note is None and not waited(lambda c: is_settled(c, campaign_id)):
        done = going_on
    show.outcome(outcome, json, done)
