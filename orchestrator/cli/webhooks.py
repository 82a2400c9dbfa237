"""`orchestrator webhooks`: endpoints at TokPortal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import show
from orchestrator.cli.options import Json
from orchestrator.cli.reading import load_settings

if TYPE_CHECKING:
    from orchestrator.settings import Settings
    from orchestrator.tokportal.registration import Registrar

app = typer.Typer(help="Webhooks: where TokPortal sends its events.", no_args_is_help=True)

Url = Annotated[
    str | None, typer.Option(help="Where to; by default /webhooks/tokportal under ORCHESTRATOR_PUBLIC_URL.")
]
Events = Annotated[str | None, typer.Option(help="Only these types, comma separated; by default all.")]
Another = Annotated[bool, typer.Option("--another", help="Beside the one that exists, to rotate its secret.")]
Id = Annotated[str, typer.Argument(help="As `list` shows it.")]


@contextmanager
def _registrar(settings: Settings) -> Iterator[Registrar]:
    from orchestrator.clock import RealClock
    from orchestrator.tokportal.client import Client
    from orchestrator.tokportal.registration import Registrar, RegistrationError

    if settings.tokportal_api_key is None:
        raise RegistrationError("TOKPORTAL_API_KEY is not set: it is made in TokPortal's settings")
    client = Client(settings.tokportal_base_url, settings.tokportal_api_key, None, RealClock())
    try:
        with show.working("asking TokPortal"):
            yield Registrar(client, settings.data_dir)
    finally:
        client.close()


@app.command()
def register(url: Url = None, events: Events = None, another: Another = False, json: Json = False) -> None:
    """Have TokPortal send its events to this service, and keep the secret that they are signed with."""
    from orchestrator.tokportal.registration import endpoint_url

    settings = load_settings()
    to = endpoint_url(url, settings.public_url, settings.tokportal_base_url)
    names = [name.strip() for name in (events or "").split(",") if name.strip()]
    with _registrar(settings) as registrar:
        endpoint, is_new = registrar.register(to, names, another=another)
    if json:
        show.write_json({**endpoint.told(), "created": is_new})
        return
    if not is_new:
        show.say(f"{endpoint.endpoint_id} sends to {to} already, and its secret is stored here.")
        return
    show.say(f"{endpoint.endpoint_id} sends to {to}: {len(endpoint.events)} types of events.")
    show.say("Its secret is stored, and a service that runs uses it at once.", style="dim")


@app.command("list")
def list_(json: Json = False) -> None:
    """Show the endpoints that TokPortal knows. `secret` is the fingerprint of the one that is stored here."""
    with _registrar(load_settings()) as registrar:
        items = [endpoint.told() for endpoint in registrar.endpoints()]
    if json:
        show.write_json({"items": items})
        return
    rows = [{**item, "events": len(item["events"])} for item in items]
    show.console().print(show.table(rows, "id", "url", "enabled", "events", "secret", "created_at"))


@app.command()
def test(id: Id, json: Json = False) -> None:
    """Have TokPortal send a test event to an endpoint. Exit code 1 where it says that it did not arrive."""
    with _registrar(load_settings()) as registrar:
        said = registrar.test(id)
    status = said.get("status_code")
    arrived = said.get("success")
    if json:
        show.write_json(said)
    elif arrived is False:
        show.say(f"TokPortal sent a test event, and it did not arrive (status {status}).", style="red")
    else:
        show.say("TokPortal sent a test event: `orchestrator messages list` shows it once it has arrived.")
    if arrived is False:
        raise typer.Exit(1)


@app.command()
def delete(id: Id, json: Json = False) -> None:
    """Delete an endpoint at TokPortal, then its secret here."""
    with _registrar(load_settings()) as registrar:
        had_secret = registrar.delete(id)
    if json:
        show.write_json({"id": id, "deleted": True, "secret_removed": had_secret})
        return
    secret = "its secret is removed" if had_secret else "no secret of it was stored here"
    show.say(f"{id} is deleted at TokPortal; {secret}.")
