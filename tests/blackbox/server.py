"""The service as others meet it: a process with a port, a log and exit codes. Nothing of its code is called here."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx2

ROOT = Path(__file__).parents[2]
ARTICLE = "article"
PUBLIC = "2026-05-25"
SECRET = "tp_test_secret_do_not_use"
OLD_SECRET = "tp_test_secret_before_rotation"
PATIENCE = 30.0
"""Seconds until a test gives up. Nothing takes nearly as long on a machine that has something else to do as well."""
_PAUSE = 0.02

T = TypeVar("T")


def wait_for(look: Callable[[], T], seconds: float = PATIENCE, what: str = "") -> T:
    """What `look` returned once it was true."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or look!r}; seen last: {found!r}")
        time.sleep(_PAUSE)  # It is another process that is waited for.


def free_port() -> int:
    """A port below those that the system gives to outgoing connections, so that it is still free after a restart."""
    while True:
        port = random.randint(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def stranger() -> str:
    """An address of this machine that nobody has sent from: with a measure of bad signatures of its own."""
    return f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"


def digest(secret: str, content: bytes) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def signature(dialect: str, body: bytes, secret: str = SECRET, at: int | None = None) -> dict[str, str]:
    """The header that TokPortal would send with `body`."""
    if dialect == ARTICLE:
        return {"X-TokPortal-Signature": f"sha256={digest(secret, body)}"}
    stamp = str(int(time.time()) if at is None else at)
    return {"TokPortal-Signature": f"t={stamp},v1={digest(secret, stamp.encode() + b'.' + body)}"}


def clean_environment(**variables: str) -> dict[str, str]:
    """What a shell has, without any settings of the one that runs the tests, and with `variables`."""
    foreign = ("ORCHESTRATOR_", "TOKPORTAL_", "SIMULATE_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "PYTHONPATH": str(ROOT), **variables}


def run_cli(folder: Path, *arguments: str, seconds: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
    """One command, run to its end in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        cwd=folder,
        env=clean_environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


class Server:
    """One `orchestrator serve`, which may be started and killed many times."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        *arguments: str,
        webhooks: str = "",
        tokens: Mapping[str, str] | None = None,
        **variables: str,
    ) -> None:
        """`webhooks` is the content of webhooks.yaml; `tokens` are API tokens by role."""
        (folder / "config").mkdir(parents=True, exist_ok=True)
        (folder / "config" / "webhooks.yaml").write_text(webhooks)
        self.folder = folder
        self.log = folder / "log.json"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.tokens = dict(tokens or {})
        self.settings = {
            "ORCHESTRATOR_DATABASE_URL": database_url,
            "ORCHESTRATOR_PORT": str(self.port),
            "ORCHESTRATOR_LOG_FORMAT": "json",
            "TOKPORTAL_WEBHOOK_SECRET": f"{SECRET}, {OLD_SECRET}",
            **({"ORCHESTRATOR_API_TOKENS": ",".join(f"{r}:{r}:{t}" for r, t in self.tokens.items())} if tokens else {}),
            **variables,
        }
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: dict[str, httpx2.Client] = {}
        self._clients_lock = threading.Lock()

    # Its life

    def start(self, *, ready: bool = True) -> Server:
        assert self._process is None
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", "serve", *self._arguments],
                cwd=self.folder,
                env=clean_environment(**self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if ready:
            wait_for(self._is_ready, what=f"{self.url}/health/ready")
        return self

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the service ended: {self.log.read_text()[-2000:]}"
        return self.answers("/health/ready")

    def answers(self, path: str) -> bool:
        """Whether a GET of `path` is answered 200."""
        try:
            return httpx2.get(self.url + path, timeout=5, trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15) -> int:
        """Asks it to stop; the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(seconds)
        self._forget()
        return code

    def kill9(self) -> None:
        """The whole service at once, as by a power cut."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        wait_for(lambda: not self.processes(), what="the end of all processes")
        self._forget()

    def close(self) -> None:
        """However the test went: nothing is left running."""
        if self._process is not None:
            self.kill9()
        self._forget()

    def _forget(self) -> None:
        self._process = None
        for client in self._clients.values():
            client.close()
        self._clients = {}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def processes(self) -> dict[int, str]:
        """The command lines of all its living processes, by their ids. Each worker's ends with its name."""
        assert self._process is not None
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(group) == self._process.pid and state != "Z":
                found[int(entry.name)] = command
        return found

    def worker(self, name: str) -> int:
        """The id of the process that runs this worker."""
        return wait_for(
            lambda: next((pid for pid, command in self.processes().items() if command.endswith(f"worker {name}")), 0),
            what=f"the worker {name}",
        )

    def signal_all(self, number: int) -> None:
        os.killpg(self.pid, number)

    # What it is told

    def client(self, source: str = "127.0.0.1") -> httpx2.Client:
        """A client whose connections come from the address `source`, any of this machine."""
        with self._clients_lock:
            if source not in self._clients:
                transport = httpx2.HTTPTransport(local_address=source, retries=1)
                self._clients[source] = httpx2.Client(base_url=self.url, timeout=20, transport=transport)
            return self._clients[source]

    def post_webhook(
        self,
        body: bytes | Mapping[str, Any],
        dialect: str = ARTICLE,
        secret: str = SECRET,
        headers: Mapping[str, str | bytes] | None = None,
        *,
        endpoint: str = "",
        source: str = "127.0.0.1",
    ) -> httpx2.Response:
        """The answer to `body`, signed as TokPortal would."""
        content = body if isinstance(body, bytes) else encode(body)
        return self.send(content, {**signature(dialect, content, secret), **(headers or {})}, endpoint, source)

    def send(
        self,
        content: bytes | Iterator[bytes],
        headers: Mapping[str, str | bytes],
        endpoint: str = "",
        source: str = "127.0.0.1",
    ) -> httpx2.Response:
        """The answer to a webhook with just these headers."""
        path = f"/webhooks/tokportal/{endpoint}" if endpoint else "/webhooks/tokportal"
        return self.client(source).post(path, content=content, headers=dict(headers))

    def deliver(self, body: bytes | Mapping[str, Any], dialect: str = ARTICLE, **options: Any) -> str:
        """The id of the message as which `body` was accepted."""
        answer = self.post_webhook(body, dialect, **options)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.json().keys() == {"status", "message_id"}
        assert answer.json()["status"] == "accepted"
        return str(answer.json()["message_id"])

    def deliver_again(self, body: bytes | Mapping[str, Any], dialect: str = ARTICLE, **options: Any) -> str:
        """The id of the message that `body` is a duplicate of."""
        answer = self.post_webhook(body, dialect, **options)
        assert (answer.status_code, answer.json()["status"]) == (200, "duplicate")
        return str(answer.json()["message_id"])

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        """A bare connection, for what no decent client would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=15) as plain:
            yield plain

    # What it tells

    def api(self, path: str, expect: int = 200, **params: Any) -> Any:
        """The JSON at `path`, answered with the status `expect`."""
        answer = self.client().get(path, params=params or None, headers=self.bearer("viewer"))
        assert answer.status_code == expect, answer.text
        return answer.json()

    def command(self, path: str, body: Any = None, role: str = "operator", **headers: str) -> httpx2.Response:
        """The answer to an operator's command."""
        given = {**self.bearer(role), **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client().post(path, json={} if body is None else body, headers=given)

    def bearer(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[role]}"} if self.tokens else {}

    def items(self, path: str, **params: Any) -> list[Any]:
        """Every item of a list, page by page."""
        found: list[Any] = []
        cursor = None
        while True:
            paging = {"limit": 500} if cursor is None else {"limit": 500, "cursor": cursor}
            page = self.api(path, **params, **paging)
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found

    def journalled(self, event_id: str) -> list[Any]:
        """The messages with this event id, the newest first."""
        return self.items("/api/messages", event_id=event_id)

    def judged(self, message_id: str) -> Any:
        """The message, once the engine has taken it."""

        def look() -> Any:
            item = self.api(f"/api/messages/{message_id}")
            return item if item["status"] != "pending" else None

        return wait_for(look, what=f"the end of the message {message_id}")

    def is_applied(self) -> bool:
        """Whether nothing waits for the engine, and every read model reflects the whole log."""
        if self.api("/api/messages", status="pending", limit=1)["items"]:
            return False
        return all(item["lag"] == 0 for item in self.api("/api/projections")["items"])

    def wait_until_applied(self, seconds: float = PATIENCE) -> None:
        wait_for(self.is_applied, seconds, what="an empty inbox, and no lag")

    def retry(self, message_id: str) -> Any:
        """What became of a message that was told to be applied again; the command's own message."""
        answer = self.command(f"/api/messages/{message_id}/retry", Prefer="wait=20")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def metric(self, name: str, **labels: str) -> float:
        """A figure of /metrics; 0 where nothing was counted yet."""
        text = self.client().get("/metrics", headers=self.bearer("viewer")).text
        wanted = "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}" if labels else ""
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name}{wanted} ")), 0.0)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_cli(self.folder, *arguments, **self.settings)

    def cli_json(self, *arguments: str) -> Any:
        """What a command that succeeds prints for programs."""
        done = self.cli(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def cli_items(self, *arguments: str) -> list[Any]:
        """Every item of a list, page by page."""
        found: list[Any] = []
        cursor: list[str] = []
        while True:
            page = self.cli_json(*arguments, "--limit", "500", *cursor)
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = ["--cursor", page["next"]]

    def log_lines(self) -> list[dict[str, Any]]:
        """What it has logged; a line that is no JSON is an error."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def errors(self) -> list[dict[str, Any]]:
        """The lines of the log that tell of something that should not have happened."""
        return [line for line in self.log_lines() if line["level"] in ("error", "critical") or "exception" in line]


def agree(server: Server, arguments: Sequence[str], path: str) -> None:
    """The command line shows what the API answers. What the service does by itself may move the log between the two."""
    wait_for(lambda: server.cli_json(*arguments) == server.api(path), what=f"{' '.join(arguments)} as {path}")


class Stream:
    """The live event stream, read by a thread so that a test can do other things meanwhile."""

    def __init__(self, server: Server, *, last_event_id: int | None = None, after: int | None = None) -> None:
        self.items: list[dict[str, Any]] = []
        self.ids: list[int] = []
        self.ended = threading.Event()
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        headers = server.bearer("viewer")
        if last_event_id is not None:
            headers["Last-Event-ID"] = str(last_event_id)
        self._connection.request("GET", "/api/stream" + ("" if after is None else f"?after={after}"), headers=headers)
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        assert self._answer.headers.get_content_type() == "text/event-stream"
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._answer.close()
        self._connection.close()

    def until(self, position: int) -> list[dict[str, Any]]:
        """The items received once the one at `position` was among them."""
        wait_for(lambda: self.ids and self.ids[-1] >= position, what=f"the event at {position} on the stream")
        return self.items

    def _read(self) -> None:
        try:
            for line in self._answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    self.ids.append(int(value))
                elif name == "data":
                    self.items.append(json.loads(value))
        except (http.client.HTTPException, OSError, ValueError):
            pass  # What it has not received by then, a test misses.
        self.ended.set()


def encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode()
