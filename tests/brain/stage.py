"""A small world around the real engine: webhooks, orders, timers and TokPortal's answers go in, events come out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from orchestrator.campaigns import read_document
from orchestrator.campaigns.spec import CampaignSpec
from orchestrator.database import Database
from orchestrator.database.tables import due, inbox, journal, marks, outbox
from orchestrator.dialects import ARTICLE, PUBLIC, identify
from orchestrator.domain.bundle import Bundle, BundleView, bundle_view
from orchestrator.domain.decisions import Ours
from orchestrator.domain.video import Video, VideoView, video_view
from orchestrator.engine import Engine
from orchestrator.journal import Journal, Message, message_id_of
from orchestrator.journal.commands import order
from orchestrator.journal.journal import DISPATCH, LIVE, RESULT, WEBHOOK
from orchestrator.log import EventLog, EventMapper
from orchestrator.policies.placement import wishes
from orchestrator.timers import Ringer, Timers

MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

POLICIES = """
version: 1
defaults:
  warming: {terms: [a1, b2, c3]}
  budget: {credits_per_day: 1000, approve_above: 1000}
"""


def microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


class Stage:
    """Everything that happens, happens at `now`, which only `wait` and `at` move."""

    def __init__(
        self,
        database: Database,
        *,
        now: datetime = MONDAY,
        policies: str | None = POLICIES,
        mode: str | None = "sandbox",
        reads: bool = False,
    ) -> None:
        self.database = database
        self.now = now
        self.engine = Engine(database)
        self.journal = Journal(database)
        self.log = EventLog(database)
        self.mapper = EventMapper()
        self.ringer = Ringer(database, lambda: microseconds(self.now))
        self._number = 0
        if mode is not None:
            self.order({"command": "mode", "mode": mode, "reads": reads})
        if policies is not None:
            self.policies(policies)

    def close(self) -> None:
        self.journal.close()
        self.ringer.close()

    # What happens.

    def run(self) -> None:
        """Until the engine has nothing left to do."""
        while self.engine.step():
            pass

    def append(self, *messages: Message) -> None:
        self.journal.append(list(messages))

    def article(
        self,
        event: str,
        bundle: str,
        *,
        at: datetime | None = None,
        country: str = "US",
        platform: str = "tiktok",
        event_id: str | None = None,
        run: bool = True,
        **data: Any,
    ) -> str:
        """A webhook of the article dialect; the id of its message."""
        self._number += 1
        content = {
            "id": event_id or f"evt_{self._number:05}",
            "event": event,
            "timestamp": (at or self.now).isoformat(),
            "bundle_id": bundle,
            "platform": platform,
            "country": country,
            "data": data,
        }
        return self._webhook(ARTICLE, content, run)

    def public(
        self, type_: str, *, at: datetime | None = None, event_id: str | None = None, run: bool = True, **data: Any
    ) -> str:
        """A webhook of the public dialect; the id of its message."""
        self._number += 1
        content = {
            "id": event_id or f"evt_{self._number:05}",
            "type": type_,
            "api_version": PUBLIC,
            "created_at": (at or self.now).isoformat(),
            "data": data,
        }
        return self._webhook(PUBLIC, content, run)

    def _webhook(self, dialect: str, content: dict[str, Any], run: bool) -> str:
        body = json.dumps(content).encode()
        identity = identify(dialect, body)
        message = Message(
            message_id=message_id_of(dialect, identity.event_id, identity.digest),
            kind=WEBHOOK,
            endpoint="",
            mode=LIVE,
            dialect=dialect,
            event_id=identity.event_id,
            id_source=identity.id_source,
            digest=identity.digest,
            body=body,
            headers="{}",
            actor='{"kind":"vendor","name":"tokportal"}',
            received_at=microseconds(self.now),
        )
        self.append(message)
        if run:
            self.run()
        return message.message_id

    def order(self, command: dict[str, Any], *, run: bool = True, name: str = "ann") -> tuple[str, str | None]:
        """An order of a person; its status and reason."""
        message = order(command, endpoint="test", name=name, received_at=microseconds(self.now))
        self.append(message)
        if run:
            self.run()
        return self.status(message.message_id)

    def policies(self, text: str) -> tuple[str, str | None]:
        return self.order({"command": "policies.apply", "text": text})

    def campaign(self, text: str, *, start: bool = True) -> CampaignSpec:
        """Drafts a campaign, and starts it."""
        spec = read_document(text)
        wanted = len(self.video_ids(spec))
        status = self.order(
            {"command": "campaign.create", "spec": spec.to_json(), "plan": [], "unmet": [], "wanted": wanted}
        )
        assert status == ("applied", None), status
        if start:
            status = self.order({"command": "campaign.start", "campaign_id": spec.campaign_id})
            assert status == ("applied", None), status
        return spec

    def video_ids(self, spec: CampaignSpec) -> list[str]:
        """Of the videos that the campaign has, or would have if each market had as many accounts as it asks for."""
        return [wish.video_id for wish in wishes(spec, lambda *_: 10_000, lambda _: None)]

    def wait(self, **time: float) -> None:
        """Time passes, and what is due rings."""
        self.at(self.now + timedelta(**time))

    def at(self, moment: datetime) -> None:
        """Time passes until `moment`; timers ring when they are due."""
        while True:
            with self.database.read() as connection:
                found = Timers(self.database).due(connection, microseconds(moment), 1)
            if not found:
                break
            self.now = max(self.now, EPOCH + timedelta(microseconds=found[0][1]))
            self.ringer.step()
            self.run()
        self.now = moment

    def dispatch(self) -> list[dict[str, Any]]:
        """The executor asks for everything that is pending; what it may send."""
        names = [row["command_id"] for row in self.commands(status="pending") if row["kind"] != "alert"]
        self._tell(DISPATCH, {"command_ids": names})
        return [row for row in self.commands(status="running") if row["command_id"] in names]

    def result(self, command_id: str, outcome: str = "done", *, code: str | None = None, **data: Any) -> None:
        """TokPortal answers."""
        self._tell(
            RESULT,
            {
                "command_id": command_id,
                "attempt": 1,
                "outcome": outcome,
                "code": code,
                "message": code,
                "data": data,
                "answered_at": self.now.isoformat(),
            },
        )

    def send_all(self) -> None:
        """Everything that is pending is sent, and TokPortal takes it."""
        for row in self.dispatch():
            self.result(row["command_id"])

    def _tell(self, kind: str, body: dict[str, Any]) -> None:
        message = order(body, endpoint="test", name="executor", received_at=microseconds(self.now))
        self.append(replace(message, kind=kind))
        self.run()

    # What is there.

    def status(self, message_id: str) -> tuple[str, str | None]:
        query = sa.select(marks.c.status, marks.c.reason).join(journal, journal.c.seq == marks.c.seq)
        with self.database.read() as connection:
            row = connection.execute(query.where(journal.c.message_id == message_id)).first()
        return (row.status, row.reason) if row is not None else ("pending", None)

    def events(self, *kinds: type[Any]) -> list[Any]:
        with self.database.read() as connection:
            stored = self.log.after(connection, 0, 1_000_000)
        events = [self.mapper.event(*row[1:]) for row in stored]
        return [event for event in events if not kinds or isinstance(event, kinds)]

    def decisions(self) -> list[tuple[str, str | None]]:
        return [(str(e.decision), e.reason) for e in self.events(Ours) if e.decision is not None]

    def commands(self, **where: Any) -> list[dict[str, Any]]:
        query = sa.select(outbox).order_by(outbox.c.seq)
        for name, value in where.items():
            query = query.where(outbox.c[name] == value)
        with self.database.read() as connection:
            return [{**row, "body": json.loads(row["body"])} for row in connection.execute(query).mappings()]

    def told(self) -> list[dict[str, Any]]:
        """The alerts, but for those that only say that something is over."""
        return [row for row in self.commands(kind="alert") if not row["body"].get("resolves")]

    def alerts(self) -> list[str]:
        return [row["body"]["alert"] for row in self.told()]

    def timers(self) -> dict[str, datetime]:
        with self.database.read() as connection:
            return {row.name: EPOCH + timedelta(microseconds=row.due_at) for row in connection.execute(sa.select(due))}

    def video(self, video_id: str) -> VideoView:
        video = self._aggregate(Video.key(video_id))
        return video_view(video.notes, video.steps)

    def bundle(self, bundle_id: str) -> BundleView:
        bundle = self._aggregate(Bundle.key(bundle_id))
        return bundle_view(bundle.notes, {}, (), bundle.steps)

    def _aggregate(self, key: str) -> Any:
        with self.database.read() as connection:
            stored = self.log.of(connection, [key])[key]
        aggregate: Any = None
        for row in stored:
            aggregate = self.mapper.event(*row[1:]).mutate(aggregate)
        return aggregate

    def nothing_is_left(self) -> bool:
        with self.database.read() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(inbox)).scalar_one() == 0

    # Short stories.

    def warm(
        self, *bundles: str, country: str = "US", platform: str = "tiktok", days_ago: int = 30, **data: Any
    ) -> None:
        """Accounts that have been warm for a month."""
        began = self.now - timedelta(days=days_ago)
        for bundle in bundles:
            for index, event in enumerate(("created", "ready", "warming_started", "warming_completed")):
                at = began + timedelta(minutes=index)
                self.article(f"bundle.{event}", bundle, at=at, country=country, platform=platform, run=False, **data)
        self.run()


def campaign(
    name: str = "spring",
    *,
    refs: Iterable[str] = ("teaser-1",),
    targets: str = "[{country: US, platform: tiktok, accounts: 1}]",
    more: str = "",
) -> str:
    videos = "".join(f"  - {{ref: {ref}, media: 'https://cdn.example.com/{ref}.mp4'}}\n" for ref in refs)
    return (
        f"name: {name}\nvideos:\n{videos}targets: {targets}\n"
        f"disclose_as_ads: true\nai_content_disclaimer: false\n{more}\n"
    )


Make = Callable[..., Stage]
