"""The sandbox as a process: its world out of its file, its clock, its port, its end."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import uvicorn

from orchestrator.clock import Clock, RealClock, Scale
from orchestrator.sandbox.app import create_app
from orchestrator.sandbox.diary import MANNER, Manner
from orchestrator.sandbox.hold import Hold
from orchestrator.sandbox.life import Life, open_world
from orchestrator.sandbox.model import Endpoint
from orchestrator.sandbox.worldfile import WorldFile
from orchestrator.simulate.dialect import Dialect

_STOP_WITHIN: Final = 5
_LOOK_AGAIN: Final = 0.5
"""Seconds between two tries to get a world that another sandbox has open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint that is there from the beginning, without a challenge: whoever starts this process vouches for it."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the process was started with.

    Attributes:
        state: the world's file; None for a world that ends with the process.
        file: what a world file says. None: a known world stays as it is, a new one has the defaults.
        seed: overrules that of the file.
        clock: None: a known world's own, or the real one.
        began: the real time at which `clock` showed its epoch; None: a known world's own, or now.
        dialect: overrules that of the file.
        has_parent: ends when standard input does.
    """

    host: str = "127.0.0.1"
    port: int = 8090
    state: Path | None = None
    file: WorldFile | None = None
    seed: int | None = None
    clock: Scale | None = None
    began: datetime | None = None
    webhook: Webhook | None = None
    dialect: Dialect | None = None
    adopts: bool = False
    has_parent: bool = False


def build(options: Options) -> Life:
    """The world as its file holds it, or a new one.

    Raises:
        ValueError: the world's file cannot be read, or was made with another seed.
        OSError: it cannot be opened.
    """
    file = options.file
    if options.state is not None:
        options.state.parent.mkdir(parents=True, exist_ok=True)
    seed = options.seed if options.seed is not None else file.seed if file is not None else None
    world = open_world(
        RealClock(),
        path=options.state,
        seed=seed,
        parameters=file.parameters if file is not None else None,
        adopt=options.adopts,
    )
    manner = world.find(Manner, MANNER) or Manner(id=MANNER, parameters=world.parameters)
    manner, world.clock = _with_clock(manner, options)
    world.put(manner)
    life = Life(
        world,
        parameters=file.parameters if file is not None else None,
        habits=file.habits if file is not None else None,
        faults=file.faults if file is not None else None,
    )
    if options.dialect is not None and life.parameters.webhook_dialect != options.dialect:
        life.parameters = msgspec.structs.replace(life.parameters, webhook_dialect=options.dialect.value)
    if options.webhook is not None:
        _listen_at(life, options.webhook)
    if file is not None and not manner.is_founded:
        for founding in file.accounts:
            life.founder.found(founding)
        life.mark_founded()
    world.save()
    return life


def _with_clock(manner: Manner, options: Options) -> tuple[Manner, Clock]:
    scale = options.clock
    if scale is None and manner.clock is not None:
        scale = Scale.parse(manner.clock)
    if scale is None:
        return manner, RealClock()
    began = options.began
    if began is None and manner.clock == str(scale) and manner.began is not None:
        began = datetime.fromisoformat(manner.began)
    began = began or datetime.now(UTC)
    return msgspec.structs.replace(manner, clock=str(scale), began=began.isoformat()), scale.clock(began)


def _listen_at(life: Life, webhook: Webhook) -> None:
    world = life.world
    known = next((endpoint for endpoint in world.all(Endpoint) if endpoint.url == webhook.url), None)
    now = world.now()
    endpoint = known or Endpoint(id=world.new_id("endpoint"), url=webhook.url, created_at=now)
    endpoint.signing_secret = webhook.secret
    endpoint.dialect = life.parameters.webhook_dialect
    endpoint.updated_at = now
    world.put(endpoint)


class Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def run(options: Options, ready: Callable[[str], None]) -> int:
    """Runs the sandbox until SIGTERM, SIGINT, or the end of its parent; returns an exit code, 1 if its world failed.

    Args:
        ready: told the URL once requests are taken.

    Another sandbox that has the same world open is waited for, where a parent sees to it that one runs.

    Raises what `build` does, and OSError where the address cannot be used; ValueError where the world is in use.
    """
    hold = Hold(options.state) if options.state is not None else None
    while hold is not None and not hold.take():
        if not options.has_parent:
            raise ValueError("another sandbox has this world open: stop it first, or use another file")
        if _has_lost_parent():
            return 0
    listener = _listen(options.host, options.port)
    life = build(options)
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    broken = threading.Event()

    def stop(*, failed: bool = False) -> None:
        if failed:
            broken.set()
        server.should_exit = True

    config = uvicorn.Config(
        create_app(life, failed=lambda: stop(failed=True)),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_STOP_WITHIN,
    )
    server = Server(config, lambda: ready(url))
    # uvicorn raises the signal again once it has shut down; to be told to stop is how this program ends well.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if options.has_parent:
        threading.Thread(target=_watch_parent, args=(stop,), daemon=True).start()
    try:
        server.run(sockets=[listener])
    finally:
        life.world.close()
        if hold is not None:
            hold.release()
    return 1 if broken.is_set() else 0


def _has_lost_parent() -> bool:
    """Whether standard input has closed, after a while."""
    readable, _, _ = select.select([0], [], [], _LOOK_AGAIN)
    return bool(readable) and not os.read(0, 4096)


def _watch_parent(stop: Callable[[], None]) -> None:
    # Not through sys.stdin, whose lock this thread would still hold when the interpreter shuts down.
    while os.read(0, 4096):
        pass
    stop()
    time.sleep(2 * _STOP_WITHIN)
    os._exit(1)  # A request that hangs must not outlive the parent.


def _listen(host: str, port: int) -> socket.socket:
    """Raises OSError where the address is taken, before anything else has been started."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener
