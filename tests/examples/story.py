"""A story for the handbook: it is lived through by the real engine, and what the program recorded is written down."""

from __future__ import annotations

import re
import textwrap
from datetime import datetime
from typing import Any

from orchestrator.api.queries.bundles import bundle_item
from orchestrator.api.queries.decisions import list_decisions
from orchestrator.api.queries.videos import video_item
from orchestrator.campaigns import read_document
from orchestrator.database import Database
from orchestrator.domain.decisions import VideoRequested
from orchestrator.journal.journal import DISPATCH
from orchestrator.planning import Draft
from orchestrator.planning import draft as plan_draft
from projections import Follower
from tests.brain.stage import Stage

WIDTH = 112
INDENT = " " * 10
OURS = re.compile(r"\b(vid|cmp)_([0-9a-f]{6})[0-9a-f]{26}\b")


class Story(Stage):
    """Whatever happens on the stage, `shows` writes down what is new in decisions, outbox and alerts.

    Decisions are what the API answers, so the read models follow along.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database, policies=None)
        self._follower = Follower(database)
        self._parts: list[str] = []
        self._position = 0
        self._commands: dict[str, tuple[str, str | None]] = {}

    @property
    def text(self) -> str:
        return "\n\n".join(self._parts) + "\n"

    # What the story tells.

    def rules(self, text: str) -> None:
        """The policies of the story."""
        self._fence("yaml", textwrap.dedent(text).strip())
        status = self.policies(textwrap.dedent(text))
        assert status == ("applied", None), status
        self._news()

    def drafts(self, text: str) -> Draft:
        """A campaign is sent in; its calendar as it would be now."""
        self._fence("yaml", textwrap.dedent(text).strip())
        self._spec = read_document(textwrap.dedent(text))
        with self.database.read() as connection:
            draft = plan_draft(connection, self.database, self._spec, self.now)
        self.person(**draft.order(self._spec))
        return draft

    def starts(self) -> list[str]:
        """The campaign sent in last is started; the ids of its videos, in the order of its file."""
        campaign_id = self._spec.campaign_id
        self.person("campaign.start", campaign_id=campaign_id)
        wanted = self.events(VideoRequested)
        return [e.originator_id.removeprefix("video:") for e in wanted if e.data["campaign_id"] == campaign_id]

    def wants(self, text: str) -> list[str]:
        """A campaign is sent in and started at once."""
        self.drafts(text)
        return self.starts()

    def calendar(self, draft: Draft) -> None:
        """What a dry run answers."""
        lines = [f"{item['ref']}: {item['bundle_id']} on {item['target_day']}" for item in draft.plan()]
        lines += [f"{item['ref']}: nowhere: {item['reason']}" for item in draft.unmet()]
        self._fence("text", "\n".join([*(_line("plan", line) for line in lines), *draft.notes]))

    def says(self, text: str) -> None:
        """Goes on in the paragraph before, if there is one."""
        if self._parts and not self._parts[-1].startswith("```"):
            text = f"{self._parts.pop()} {text}"
        self._parts.append(textwrap.fill(" ".join(text.split()), WIDTH + 8, break_on_hyphens=False))

    def given(self, text: str) -> None:
        """As `says`; what led here is not shown."""
        self.says(text)
        self._news()

    def shows(self, *names: str) -> None:
        """What the program recorded since the last time, and how these videos and bundles stand now."""
        lines = [*self._news(), *(self._stands(name) for name in names)]
        assert lines, "nothing happened"
        self._fence("text", "\n".join([self._moment(), *lines]))

    def person(self, command: str, **order: Any) -> None:
        """A person orders something, which must be possible."""
        status = self.order({"command": command, **order})
        assert status == ("applied", None), status

    def sends(self, video_id: str) -> None:
        """TokPortal is told of this one video, and takes it."""
        (name,) = (row["command_id"] for row in self.commands(video_id=video_id, status="pending"))
        self._tell(DISPATCH, {"command_ids": [name]})
        self.result(name)

    def answers(self, slot: str) -> None:
        """TokPortal is asked about a slot, and answers."""
        (command,) = self.dispatch()
        self.result(command["command_id"], slot=slot)

    # What the program recorded.

    def _moment(self) -> str:
        return f"{self.now:%a %Y-%m-%d %H:%M} UTC"

    def _fence(self, language: str, text: str) -> None:
        self._parts.append(f"```{language}\n{text}\n```")

    def _news(self) -> list[str]:
        while self._follower.step():
            pass
        return [*self._new_decisions(), *self._new_commands()]

    def _new_decisions(self) -> list[str]:
        with self.database.read() as connection:
            items = list_decisions(connection, limit=500)["items"]
            fresh = [item for item in reversed(items) if item["position"] > self._position]
            refs = {name: video_item(connection, name)["ref"] for name in {d["video_id"] for d in fresh} if name}
        lines = []
        for item in fresh:
            self._position = item["position"]
            video, place = item["video_id"], f"{item['platform']} in {item['country']}"
            subject = f"{video} ({refs[video]})" if video else item["bundle_id"] or place
            lines.append(_line("decision", f"{item['kind']} {subject}: {item['reason']}"))
            lines += [f"{INDENT}- {c['bundle_id']}: {c['why']}" for c in item["candidates"]]
        return lines

    def _new_commands(self) -> list[str]:
        commands, alerts = [], []
        for row in self.commands():
            now = (row["status"], row["reason"])
            if self._commands.get(row["command_id"]) == now:
                continue
            self._commands[row["command_id"]] = now
            if row["kind"] == "alert":
                what = "over" if row["body"].get("resolves") else "alert"
                alerts.append(_line(what, f"{row['body']['alert']}: {row['body']['text']}"))
            else:
                commands.append(_line("command", self._command(row)))
        return [*commands, *alerts]

    def _command(self, row: dict[str, Any]) -> str:
        parts = [row["kind"], f"on {row['bundle_id']}"]
        if row["video_id"] is not None:
            parts.insert(1, row["video_id"])
        if "target_day" in row["body"]:
            parts.append(f"for {row['body']['target_day']}")
        if row["price"] is not None:
            parts.append(f"for {row['price']} credits")
        if row["not_before"] > row["created_at"] and row["status"] == "pending":
            wait = (row["not_before"] - row["created_at"]) // 60_000_000
            parts.append(f"in {wait} minutes")
        why = f" ({row['reason']})" if row["reason"] is not None else ""
        return f"{' '.join(parts)}: {row['status']}{why}"

    def _stands(self, name: str) -> str:
        with self.database.read() as connection:
            if name.startswith("vid_"):
                item: Any = video_item(connection, name)
                is_there = item["state"] not in ("waiting", "abandoned", "cancelled")
                where = f" {'on' if is_there else 'after'} {item['bundle_id']}" if item["bundle_id"] else ""
                flags = f" [{', '.join(item['flags'])}]" if item["flags"] else ""
                reason = f": {item['reason']}" if item["reason"] else ""
                return _line("video", f"{name} ({item['ref']}): {item['state']}{where}{flags}{reason}")
            item = bundle_item(connection, name)
        holds = "".join(f", {hold}" for hold in item["holds"])
        postable = "postable" if item["postable"] else "not postable"
        return _line("bundle", f"{name}: {item['state']}{holds}, {postable}")

    def at_day(self, day: str, clock: str = "12:00") -> None:
        """Time passes until then (UTC)."""
        self.at(datetime.fromisoformat(f"{day}T{clock}+00:00"))


def _line(kind: str, text: str) -> str:
    return textwrap.fill(
        OURS.sub(r"\1_\2", text),
        WIDTH,
        initial_indent=f"{kind:<10}",
        subsequent_indent=INDENT + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
