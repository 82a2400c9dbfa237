"""The programs of the demo: the sandbox and the service, each a process of its own, as they always are."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

import httpx2

from orchestrator.clock import Scale
from orchestrator.database import Database, migrate
from orchestrator.demo.world import POLICIES, DemoError
from orchestrator.world import beginning_of, settle

START_WITHIN = 60.0
STOP_WITHIN = 20.0
SECRET = "SANDBOX_WEBHOOK_SECRET"  # noqa: S105
LISTENING = re.compile(r"listening on (http://[^\s]+)")


class House(NamedTuple):
    """Where the two are."""

    service: str
    sandbox: str


@contextmanager
def running(folder: Path, scale: Scale, seed: int | None) -> Iterator[House]:
    """Both programs, in `folder`, until the end of the block. Raises `DemoError` where one does not start."""
    (folder / "config").mkdir()
    (folder / "config" / "policies.yaml").write_text(POLICIES, encoding="utf-8")
    url = f"sqlite:///{folder / 'orchestrator.db'}"
    began = _begun(url, scale)
    secret, key, port = token_hex(32), f"sk_{token_hex(32)}", _free_port()
    service = f"http://127.0.0.1:{port}"
    options = [] if seed is None else ["--seed", str(seed)]
    sandbox = [
        *("sandbox", "--demo", "--with-parent", "--port", "0", "--state", str(folder / "sandbox.db"), *options),
        *("--clock", str(scale), "--began", began.isoformat()),
        *("--webhook", f"{service}/webhooks/tokportal", "--webhook-secret-env", SECRET),
    ]
    with _process(folder, "sandbox", sandbox, {SECRET: secret}) as lookalike:
        address = _address(lookalike, folder / "sandbox.log")
        settings = {
            "ORCHESTRATOR_MODE": "sandbox",
            "ORCHESTRATOR_DATABASE_URL": url,
            "ORCHESTRATOR_CONFIG_DIR": str(folder / "config"),
            "ORCHESTRATOR_PORT": str(port),
            "ORCHESTRATOR_CLOCK": str(scale),
            "ORCHESTRATOR_LOG_FORMAT": "json",
            "TOKPORTAL_API_KEY": key,
            "TOKPORTAL_BASE_URL": f"{address}/api/ext",
            "TOKPORTAL_WEBHOOK_SECRET": secret,
        }
        with _process(folder, "service", ["serve"], settings) as house:
            _await(house, f"{service}/health/ready", folder / "service.log")
            yield House(service, address)


def _begun(url: str, scale: Scale) -> datetime:
    """The real time at which the world begins: one for both programs, though they do not start at once."""
    migrate(url)
    database = Database(url, connections=1, name="orchestrator-demo")
    try:
        settle(database, "sandbox", scale)
        return beginning_of(database, scale)
    finally:
        database.close()


@contextmanager
def _process(
    folder: Path, name: str, arguments: Sequence[str], variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ORCHESTRATOR_", "TOKPORTAL_"))}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # Our own program, with arguments of our own.
            [sys.executable, "-m", "orchestrator", *arguments],
            cwd=folder,
            env={**kept, **variables},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # Ctrl-C is for us: we stop them in order.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(BrokenPipeError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            # With everything that it started.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline:
        found = LISTENING.search(log.read_text(encoding="utf-8", errors="replace"))
        if found is not None:
            return found[1].rstrip("/")
        _check(process, log)
        time.sleep(0.05)
    raise DemoError(f"the sandbox did not start within {START_WITHIN:g} s: {_last(log)}")


def _await(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline:
        _check(process, log)
        with suppress(httpx2.HTTPError):
            if httpx2.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise DemoError(f"the service did not start within {START_WITHIN:g} s: {_last(log)}")


def _check(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        raise DemoError(f"{log.stem} ended with code {process.returncode}: {_last(log)}")


def _last(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else "it wrote nothing"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
