"""`orchestrator sandbox`: a TokPortal look-alike on this machine."""

from __future__ import annotations

import errno
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from orchestrator.clock import Scale
    from orchestrator.documents import Node
    from orchestrator.sandbox.process import Webhook
    from orchestrator.sandbox.worldfile import WorldFile
    from orchestrator.simulate import Dialect

HELP = """Run a TokPortal look-alike: its REST API under /api/ext, and its webhooks.

Any API key of the vendor's form is let in: sk_ and 64 hexadecimal digits. The vendor's own SDK can be its client. What
cannot be asked of the real TokPortal is under /sandbox, for this machine only: GET /sandbox/truth, GET and PATCH
/sandbox/faults and /sandbox/parameters, POST /sandbox/events, /sandbox/bans, /sandbox/bundles.

A world file (YAML) may look like this; every member can be left out:

\b
  seed: 7
  parameters: {webhook_dialect: article, credits: 5000}
  managers: {fails: 0.1, bans_per_account_year: 0.5, warming_takes: [216000, 259200]}
  webhooks: {retry_after: [60, 300, 1800], disable_after: 20}
  faults:
    webhooks: {lost: 0.02, late: 0.05, duplicated: 0.1, reordered: 0.1}
    rest: [{share: 0.01, kind: timeout, methods: [write], seconds: 30}]
  accounts:
    - {country: US, count: 5, state: warm, slots: 30}
    - {country: FR, platform: instagram, state: ready}

GET /sandbox/parameters and /sandbox/faults show every name with its value.
"""


def sandbox(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Where to listen; 0: any free port.")] = 8090,
    state: Annotated[
        Path | None, typer.Option(help="The file that the world lives in; without it, the world ends with the process.")
    ] = None,
    world: Annotated[
        Path | None, typer.Option(help="A YAML file of accounts, parameters and faults; see above.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="The world of the demo, in place of a file.")] = False,
    seed: Annotated[int | None, typer.Option(help="The same seed and the same requests give the same story.")] = None,
    clock: Annotated[
        str | None,
        typer.Option(help="EPOCH@SPEED, such as 2026-12-01T00:00:00Z@600; by default the world's own, or real."),
    ] = None,
    began: Annotated[str | None, typer.Option(help="The real time at which the clock showed its epoch.")] = None,
    webhook: Annotated[str | None, typer.Option(help="A webhook endpoint that is there from the beginning.")] = None,
    webhook_secret_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable that holds its signing secret.")
    ] = None,
    dialect: Annotated[
        str | None, typer.Option(help="article, or 2026-05-25 (the public API's, by default): what webhooks speak.")
    ] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take in bundles that were never bought here, when they are named.")
    ] = False,
    with_parent: Annotated[bool, typer.Option("--with-parent", help="End when standard input closes.")] = False,
) -> None:
    from orchestrator import logs
    from orchestrator.sandbox.process import Options, run
    from orchestrator.secrets import Secret

    if world is not None and demo:
        raise typer.BadParameter("give either --world or --demo", param_hint="--demo")
    hook = _webhook(webhook, webhook_secret_env)
    options = Options(
        host=host,
        port=port,
        state=state,
        file=_demo() if demo else read_file(world) if world is not None else None,
        seed=seed,
        clock=_clock(clock),
        began=_began(began, clock),
        webhook=hook,
        dialect=_dialect(dialect),
        adopts=adopt,
        has_parent=with_parent,
    )
    logs.configure(_log_format(), [Secret(hook.secret)] if hook is not None else [])
    try:
        code = run(options, lambda url: typer.echo(f"listening on {url}"))
    except (ValueError, sqlite3.Error) as error:
        raise typer.BadParameter(f"{state}: {error}", param_hint="--state") from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise typer.BadParameter(f"port {port} of {host} is already in use", param_hint="--port") from None
    raise typer.Exit(code)


sandbox.__doc__ = HELP


def _log_format() -> Any:
    import sys

    wanted = os.environ.get("ORCHESTRATOR_LOG_FORMAT", "").strip()
    return wanted if wanted in ("text", "json") else "text" if sys.stderr.isatty() else "json"


def _demo() -> WorldFile:
    from orchestrator.sandbox.demo_world import DEMO

    return DEMO


def read_file(path: Path) -> WorldFile:
    """Raises BadParameter for what is no world file, and says where it is wrong."""
    from orchestrator.documents import Refused, decode, load
    from orchestrator.sandbox.worldfile import WorldFileError, read

    try:
        return read(_values(load(decode(path.read_bytes()))))
    except Refused as refused:
        raise typer.BadParameter(
            "; ".join(f"{path}:{problem}" for problem in refused.problems), param_hint="--world"
        ) from None
    except WorldFileError as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="--world") from None


def _values(node: Node) -> Any:
    value = node.value
    if isinstance(value, dict):
        return {name: _values(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_values(inner) for inner in value]
    return value


def _clock(text: str | None) -> Scale | None:
    from orchestrator.clock import Scale

    if text is None or text.strip() == "real":
        return None
    try:
        return Scale.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--clock") from None


def _began(text: str | None, clock: str | None) -> datetime | None:
    if text is None:
        return None
    if clock is None:
        raise typer.BadParameter("goes with --clock", param_hint="--began")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} is no time with an offset, as 2026-12-01T08:00:00Z", param_hint="--began")
    return moment.astimezone(UTC)


def _webhook(url: str | None, secret_env: str | None) -> Webhook | None:
    from orchestrator.sandbox.process import Webhook

    if (url is None) != (secret_env is None):
        raise typer.BadParameter("--webhook and --webhook-secret-env go together", param_hint="--webhook")
    if url is None or secret_env is None:
        return None
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{url!r} must begin with http:// or https://", param_hint="--webhook")
    secret = os.environ.get(secret_env, "").strip()
    if not secret:
        raise typer.BadParameter(f"the environment variable {secret_env} is not set", param_hint="--webhook-secret-env")
    return Webhook(url=url, secret=secret)


def _dialect(name: str | None) -> Dialect | None:
    from orchestrator.simulate import Dialect

    if name is None:
        return None
    try:
        return Dialect(name)
    except ValueError:
        raise typer.BadParameter(f"must be article or 2026-05-25, not {name!r}", param_hint="--dialect") from None
