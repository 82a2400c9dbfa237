"""Service, sandbox and database as real processes, at the speed of a world's clock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import sqlalchemy as sa

from orchestrator.clock import Scale
from orchestrator.database import Database, migrate
from orchestrator.database.tables import leases, videos
from orchestrator.sandbox.diary import MANNER, Manner
from orchestrator.sandbox.life import open_world
from orchestrator.sandbox.worldfile import WorldFile
from orchestrator.worker import WORKERS
from orchestrator.world import beginning_of, settle
from tests.blackbox.server import Server, clean_environment, free_port, wait_for
from tests.soak import there
from tests.soak.checks import Told
from tests.soak.truth import Truth, truth_of

POLICIES = """
defaults:
  warming: {terms: [garden, bread, chess], retries: 2}
  budget: {credits_per_day: 100000, approve_above: 100000}
  failure: {codes: {"network_*": retry, "content_*": stop, "copyright_*": stop}}
  ban: {breaker: {bans: 4, within: 24h}}
"""


class Rig:
    """`world`: what there is at TokPortal; `scale`: how the time of both runs."""

    def __init__(
        self, folder: Path, url: str, world: WorldFile, scale: Scale, policies: str = POLICIES, **variables: str
    ) -> None:
        self.folder = folder
        self.url = url
        self.scale = scale
        migrate(url)
        self.database = Database(url, connections=2, name="soak")
        # Both go by one clock: whoever settles the world says when it began.
        self.clock = settle(self.database, "sandbox", self.scale)
        self.began = beginning_of(self.database, self.scale)
        self.port = free_port()
        base_url = f"http://127.0.0.1:{self.port}"
        self.service = Server(
            folder,
            url,
            ORCHESTRATOR_MODE="sandbox",
            ORCHESTRATOR_CLOCK=str(self.scale),
            TOKPORTAL_BASE_URL=f"{base_url}/api/ext",
            TOKPORTAL_API_KEY=there.KEY,
            TOKPORTAL_WEBHOOK_SECRET=there.SECRET,
            **variables,
        )
        self.service.settings["ORCHESTRATOR_PUBLIC_URL"] = self.service.url
        (folder / "config" / "policies.yaml").write_text(policies)
        (folder / "world.yaml").write_bytes(msgspec.json.encode(world))
        self.state = folder / "world.db"
        self._sandbox: subprocess.Popen[bytes] | None = None
        self._admin = httpx2.Client(base_url=base_url, timeout=60, trust_env=False)

    def close(self) -> None:
        self.service.close()
        self.stop_sandbox()
        self._admin.close()
        self.database.close()

    # The sandbox.

    def start_sandbox(self) -> None:
        first = not self.state.exists()
        with (self.folder / "sandbox.log").open("ab") as log:
            self._sandbox = subprocess.Popen(
                [
                    *(sys.executable, "-m", "orchestrator", "sandbox", "--port", str(self.port)),
                    *("--state", str(self.state), "--clock", str(self.scale), "--began", self.began.isoformat()),
                    *(["--world", str(self.folder / "world.yaml")] if first else []),
                    *("--webhook", f"{self.service.url}/webhooks/tokportal", "--webhook-secret-env", "SOAK_SECRET"),
                ],
                cwd=self.folder,
                env=clean_environment(SOAK_SECRET=there.SECRET, ORCHESTRATOR_LOG_FORMAT="json"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self._answers, what="the sandbox")

    def _answers(self) -> bool:
        assert self._sandbox is not None
        assert self._sandbox.poll() is None, (self.folder / "sandbox.log").read_text()[-3000:]
        try:
            return self._admin.get("/sandbox/faults").status_code == 200
        except httpx2.TransportError:
            return False

    def stop_sandbox(self) -> None:
        if self._sandbox is not None:
            os.killpg(self._sandbox.pid, signal.SIGTERM)
            self._sandbox.wait(30)
            self._sandbox = None

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._admin.request(method, f"/sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def calm_down(self) -> None:
        """Nothing goes wrong any more, and the platforms ban nobody."""
        self.admin("PATCH", "faults", msgspec.to_builtins(there.NO_FAULTS))

    def truth(self) -> Truth:
        """To be asked for while the sandbox is stopped."""
        world = open_world(self.clock, path=self.state)
        try:
            world.parameters = world.get(Manner, MANNER).parameters
            return truth_of(world)
        finally:
            world.close()

    # The service.

    def start(self) -> None:
        """The service runs, and all of its workers work."""
        before = self._holders()
        self.service.start()
        wait_for(lambda: self._is_working(before), 120, what="workers at work")

    def kill(self) -> None:
        """The whole service at once. Nobody has to wait for the leases of those who are certainly dead."""
        self.service.kill9()
        with self.database.write() as connection:
            connection.execute(leases.update().values(expires_at=0))

    def _holders(self) -> dict[str, int]:
        with self.database.read() as connection:
            return {row.name: row.token for row in connection.execute(sa.select(leases.c.name, leases.c.token))}

    def _is_working(self, before: dict[str, int]) -> bool:
        return all(self._holders().get(name, 0) > before.get(name, 0) for name in WORKERS)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def give(self, kind: str, name: Any, action: str) -> None:
        """An order of a person. One that means nothing (any more) is refused."""
        path = f"/api/{kind}s/{name}/{action}"
        if kind == "market":
            path = f"/api/countries/{name[0]}/{action}?platform={name[1]}"
        elif kind == "service":
            path = f"/api/{action}"
        answer = self.service.command(path, {"reason": "the soak"})
        assert answer.status_code in (202, 404, 409), f"{kind} {name} {action}: {answer.status_code} {answer.text}"

    def start_campaign(self, text: str) -> tuple[str, int]:
        """Its id, and how many videos it wants."""
        client = self.service.client()
        answer = client.post("/api/campaigns", content=text.encode(), headers={"Content-Type": "application/yaml"})
        assert answer.status_code == 201, answer.text
        plan = answer.json()
        answer = self.service.command(f"/api/campaigns/{plan['campaign_id']}/start", {})
        assert answer.status_code == 202, answer.text
        return plan["campaign_id"], len(plan["plan"]) + len(plan["unmet"])

    def told(self) -> Told:
        """Everything that the service says."""
        items = self.service.items
        commands = [command for command in items("/api/commands") if command["kind"] != "alert"]
        wanted = sum(campaign["videos"] for campaign in items("/api/campaigns"))
        return Told(items("/api/videos"), items("/api/bundles"), commands, wanted, self.now.isoformat())

    def glance(self) -> Told:
        """Some of it, as people see who look at a page or two."""
        api = self.service.api
        commands = [c for status in ("held", "dead", "unknown") for c in api("/api/commands", status=status)["items"]]
        shown = [c for c in commands if c["kind"] != "alert"]
        return Told(api("/api/videos", limit=500)["items"], api("/api/bundles", limit=500)["items"], shown)

    def counts(self) -> dict[str, int]:
        """Videos of ours by their state."""
        query = sa.select(videos.c.state, sa.func.count()).where(videos.c.campaign_id.is_not(None))
        with self.database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(videos.c.state))}

    def alerts(self) -> str:
        return json.dumps([item["body"] for item in self.service.items("/api/commands", kind="alert")])

    def is_quiet(self) -> bool:
        """Whether the service has taken in all that it was told, and does nothing just now."""
        running = any(self.service.api("/api/commands", status=status, limit=1)["items"] for status in ("running",))
        return self.service.is_applied() and not running
