"""`orchestrator simulate`: signed synthetic webhooks to any URL."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from orchestrator.cli import show
from orchestrator.cli.options import Json
from orchestrator.cli.reading import load_settings

simulate = typer.Typer(help="Send signed synthetic webhooks to any URL.", no_args_is_help=True)

Url = Annotated[str | None, typer.Option(help="Where to; by default the service of these settings on this machine.")]
SigningSecret = Annotated[
    str | None,
    typer.Option(
        "--secret", envvar="SIMULATE_SECRET", help="What to sign with; by default the settings' first webhook secret."
    ),
]
DialectName = Annotated[str, typer.Option("--dialect", help="article, or public (2026-05-25).")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same messages.")]
Share = typer.Option(min=0, max=1)


def _target(url: str | None, secret: str | None) -> tuple[str, str]:
    if url is not None and secret is not None:
        return url, secret
    from orchestrator.secrets import known_sandbox_secret
    from orchestrator.service import webhook_secrets

    settings = load_settings()
    if url is None:
        url = f"{settings.url}/webhooks/tokportal"
    if secret is None:
        # `make run` makes a sandbox world, and whoever tries it out in another terminal has not set its mode there.
        found = next(iter(webhook_secrets(settings)), None) or known_sandbox_secret(settings.data_dir)
        secret = found.reveal() if found is not None else ""
    return url, secret


def _dialect(name: str) -> Any:
    from orchestrator.simulate import Dialect
    from orchestrator.simulate.command import parse_dialect

    return Dialect.PUBLIC if name == "public" else parse_dialect(name)


def _show(answers: list[Any], json: bool) -> None:
    items = [
        {
            "event_id": answer.request.event_id,
            "type": answer.request.type,
            "status": answer.status,
            "answer": _parsed(answer.body),
        }
        for answer in answers
    ]
    if json:
        show.page({"items": items, "next": None}, json)
    else:
        rows = [{**item, **item["answer"]} if isinstance(item["answer"], dict) else item for item in items]
        rows = [{**row, "code": item["status"]} for row, item in zip(rows, items, strict=True)]
        show.page({"items": rows, "next": None}, json, "type", "code", "status", "message_id")
    if any(answer.status != 200 for answer in answers):
        raise typer.Exit(1)


def _parsed(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body.decode("utf-8", "replace")


@simulate.command("event")
def send_event(
    type: Annotated[str, typer.Argument(metavar="TYPE", help="The event type, such as bundle.created.")],
    dialect: DialectName = "article",
    url: Url = None,
    secret: SigningSecret = None,
    set: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE replaces a field, data.NAME=VALUE one of its data; repeatable.")
    ] = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Send one event."""
    from orchestrator.simulate import command

    target, signing = _target(url, secret)
    _show([command.send_one(target, signing, _dialect(dialect), type, _overrides(set or []), seed=seed)], json)


@simulate.command("all")
def send_all(
    dialect: DialectName = "article",
    url: Url = None,
    secret: SigningSecret = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Send every event type of a dialect once, as one account's life."""
    from orchestrator.simulate import command

    target, signing = _target(url, secret)
    _show(command.send_all(target, signing, _dialect(dialect), seed=seed), json)


@simulate.command("storm")
def blow(
    dialect: DialectName = "article",
    url: Url = None,
    secret: SigningSecret = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Webhooks per second; none: all it takes.")] = None,
    duration: Annotated[float | None, typer.Option(min=0.1, help="Seconds. Without it and --count: 10.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="How many webhooks.")] = None,
    connections: Annotated[int, typer.Option(min=1, max=1000)] = 16,
    bundles: Annotated[int, typer.Option(min=1, help="How many accounts they are about.")] = 100,
    duplicates: Annotated[float, Share] = 0.05,
    reordering: Annotated[float, Share] = 0.05,
    failures: Annotated[float, Share] = 0.05,
    bad_signatures: Annotated[float, Share] = 0.0,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Send a storm: many accounts and videos at once, with duplicates, reordering, failures and forged signatures.

    Exit code 1 if any answer was not the one expected (200, or 401 and 429 for a forged one).
    """
    from orchestrator.simulate import command

    target, signing = _target(url, secret)
    figures = command.run_storm(
        target,
        signing,
        _dialect(dialect),
        json=json,
        seed=seed,
        rate=rate,
        duration=10.0 if duration is None and count is None else duration,
        count=count,
        connections=connections,
        bundles=bundles,
        duplicates=duplicates,
        reordering=reordering,
        failures=failures,
        bad_signatures=bad_signatures,
    )
    if figures.unexpected or figures.lost:
        raise typer.Exit(1)


def _overrides(given: list[str]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
        try:
            overrides[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            overrides[name] = value
    return overrides
