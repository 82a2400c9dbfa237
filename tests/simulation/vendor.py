"""TokPortal as the simulation has it: accounts, slots, and webhooks that get lost, doubled, late and out of order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from orchestrator.commands import Outcome, TryAgain
from orchestrator.dialects import ARTICLE, PUBLIC
from orchestrator.outbox import Command

CODES = ["network_error", "upload_timeout", "content_violation", "copyright_claim", "unknown"]


@dataclass
class Slot:
    bundle_id: str
    video_id: str
    vendor_id: str
    position: int
    day: date
    state: str = "configured"
    since: datetime | None = None


@dataclass
class Account:
    bundle_id: str
    saved_id: str
    country: str
    platform: str
    dialect: str
    state: str = "created"
    was_banned: bool = False
    total: int | None = None
    """How many slots it has; None: as many as anybody wants, and it does not count them."""
    slots: dict[str, Slot] = field(default_factory=dict)


@dataclass(order=True)
class Mail:
    at: datetime
    number: int
    dialect: str = field(compare=False)
    content: dict[str, Any] = field(compare=False)


class Vendor:
    """Does what a real one may do. What it said is over never posts afterwards."""

    def __init__(self, rng: random.Random, accounts: list[Account]) -> None:
        self.rng = rng
        self.accounts = {account.bundle_id: account for account in accounts}
        self.mail: list[Mail] = []
        self.keys: dict[str, Any] = {}
        self.answers: dict[str, Outcome] = {}
        self.bought: Counter[str] = Counter()
        self.now = datetime.min
        self._number = 0

    # What it reports.

    def tell(self, account: Account, kind: str, *, video: Slot | None = None, **data: Any) -> None:
        self._number += 1
        number = self._number
        if account.dialect == ARTICLE:
            if video is not None:
                data["video_id"] = video.video_id
            content = {
                "id": f"evt_v{number:05}",
                "event": kind,
                "timestamp": self.now.isoformat(),
                "bundle_id": account.bundle_id,
                "platform": account.platform,
                "country": account.country,
                "data": data,
            }
        else:
            if video is not None:
                data |= {"video_id": video.vendor_id, "position": video.position}
                if self.rng.random() < 0.7:
                    data["external_ref"] = video.video_id
            data |= {"bundle_id": account.bundle_id, "saved_account_id": account.saved_id}
            data |= {"country": account.country, "platform": account.platform}
            content = {"id": f"evt_v{number:05}", "type": kind, "created_at": self.now.isoformat(), "data": data}
        roll = self.rng.random()
        if roll < 0.03:
            return
        for _ in range(2 if roll > 0.9 else 1):
            late = self.rng.choice([0, 0, 0, 0, 1, 5, 60, 600, 3_000]) * self.rng.random()
            self.mail.append(Mail(self.now + timedelta(minutes=late), number, account.dialect, content))

    def later(self, account: Account, kind: str, after: timedelta) -> None:
        """Tells it after some time: it happens then."""
        now, self.now = self.now, self.now + after
        self.tell(account, kind)
        self.now = now

    def due_mail(self) -> list[Mail]:
        due = [mail for mail in self.mail if mail.at <= self.now]
        self.mail = [mail for mail in self.mail if mail.at > self.now]
        self.rng.shuffle(due)
        return due

    # What happens there.

    def tick(self, now: datetime) -> None:
        self.now = now
        for account in self.accounts.values():
            self._live(account)
            for slot in list(account.slots.values()):
                self._work(account, slot)

    def _live(self, account: Account) -> None:
        roll = self.rng.random()
        article = account.dialect == ARTICLE
        if account.state == "created" and roll < 0.3:
            account.state = "ready"
            self.tell(account, "bundle.ready" if article else "account.finalized")
        elif account.state == "warming" and roll < 0.3:
            if roll < 0.06 and article:
                account.state = "failed"
                self.tell(account, "bundle.warming_failed", reason="no reach")
            else:
                account.state = "warm"
                self.tell(account, "bundle.warming_completed" if article else "warming.session_completed")
        elif account.state == "warm" and roll < 0.006:
            account.state, account.was_banned = "banned", True
            for slot in account.slots.values():
                if slot.state != "posted":
                    slot.state = "dead"
            self.tell(account, "bundle.banned" if article else "account.banned", reason="tos")
        elif account.state == "warm" and roll < 0.012 and not article:
            self.tell(account, "account.ban_appeal.submitted")
        elif account.state == "warm" and roll < 0.03 and not article:
            self.tell(account, "account.ban_appeal.resolved", outcome="accepted")
        elif account.state == "banned" and roll < 0.02 and not article:
            account.state = "created"
            account.saved_id += "x"
            account.slots.clear()
            self.tell(account, "account.remade")

    def warm(self, account: Account) -> None:
        if account.state in ("created", "ready", "failed"):
            account.state = "warming"
            article = account.dialect == ARTICLE
            self.tell(account, "bundle.warming_started" if article else "warming.session_started")

    def _work(self, account: Account, slot: Slot) -> None:
        roll = self.rng.random()
        article = account.dialect == ARTICLE
        if slot.state == "configured" and self.now.date() >= slot.day and account.state == "warm":
            if roll < 0.5:
                slot.state, slot.since = "uploading", self.now
                self.tell(account, "video.upload_started" if article else "video.published", video=slot)
            elif roll < 0.53:
                slot.state = "dead"
        elif slot.state == "uploading":
            if roll < 0.5:
                slot.state = "posted"
                url = f"https://t.example/{slot.vendor_id}"
                if article:
                    self.tell(account, "video.upload_completed", video=slot)
                    self.tell(account, "video.posted", video=slot, url=url)
                else:
                    self.tell(account, "video.in_review", video=slot, platform_url=url)
            elif roll < 0.75 and article:
                retrying = self.rng.random() < 0.3
                code = self.rng.choice(CODES)
                slot.state = "configured" if retrying else "failed"
                retry = {"attempt": 1, "max_attempts": 2, "will_retry": retrying}
                self.tell(account, "video.post_failed", video=slot, error_code=code, message="no", retry=retry)
            elif roll < 0.8:
                slot.state = "dead"

    # What it is asked to do.

    def room(self, urgency: int) -> int:
        return 50

    def execute(self, command: Command) -> Outcome:
        if self.rng.random() < 0.1:
            raise TryAgain("503")
        return self._answer(command)

    def execute_together(self, commands: Sequence[Command]) -> Mapping[str, Outcome]:
        if self.rng.random() < 0.1:
            raise TryAgain("503")
        return {command.command_id: self._answer(command) for command in commands}

    def look_up(self, command: Command) -> Outcome:
        return self.execute(command)

    def _answer(self, command: Command) -> Outcome:
        """Once for each key: to one that it knows it says again what it said before."""
        key = str(command.idempotency_key)
        body = (command.kind, command.body)
        if self.keys.setdefault(key, body) != body:
            raise AssertionError(f"the key {key} was used with another body")
        if key not in self.answers:
            self.answers[key] = self._do(command)
        lost = Outcome("unknown", message="the answer was lost")
        return lost if self.rng.random() < 0.05 else self.answers[key]

    def _do(self, command: Command) -> Outcome:
        account = self.accounts[str(command.bundle_id)]
        data = {"asked_at": (self.now - timedelta(seconds=self.rng.randrange(5))).isoformat()}
        if command.kind == "read_metrics":
            return Outcome("done", data={"views": self.rng.randrange(1_000), **data})
        if command.price is not None and self.rng.random() < 0.1:
            return _no("INSUFFICIENT_CREDITS", missing=command.price, **data)
        if command.kind == "start_warming":
            if account.state == "warming":
                return _no("REWARM_ALREADY_ACTIVE", **data)
            self.warm(account)
            return Outcome("done", data=data)
        if command.kind == "add_slots":
            if account.total is not None:
                account.total += command.body["quantity"]
            self.bought[account.bundle_id] += 1
            return Outcome("done", data=data | self._slots(account))
        if command.kind in ("finalize_video", "request_corrections"):
            return Outcome("done", data=data)
        if command.kind == "configure_video":
            outcome = self._configure(account, command)
            told = self._slots(account) if self.rng.random() < 0.8 else {}
            return replace(outcome, data={**outcome.data, **told, **data})
        slot = account.slots.get(str(command.video_id))
        if command.kind == "unschedule_video":
            if slot is not None and slot.state == "configured":
                slot.state = "dead"
            return Outcome("done", data=data | self._slots(account))
        return self._look(slot)

    def _slots(self, account: Account) -> dict[str, Any]:
        if account.total is None:
            return {}
        free = account.total - self._used(account)
        return {"slots": {"bundle_id": account.bundle_id, "total": account.total, "free": free}}

    @staticmethod
    def _used(account: Account) -> int:
        """A slot that was given up is free for another video; one that failed keeps its own."""
        return sum(slot.state != "dead" for slot in account.slots.values())

    def _configure(self, account: Account, command: Command) -> Outcome:
        if account.state in ("banned", "created"):
            status = self.rng.choice(["cancelled", "archived"]) if account.state == "banned" else "pending_setup"
            return _no("BUNDLE_INVALID_STATUS", current_status=status)
        video_id, day = str(command.video_id), date.fromisoformat(command.body["target_day"])
        slot = account.slots.get(video_id)
        roll = self.rng.random()
        if roll < 0.03:
            return _no("INVALID_DATE", earliest_allowed=(day + timedelta(days=self.rng.randrange(3))).isoformat())
        if roll < 0.06:
            return _no("VIDEOS_PER_DAY_EXCEEDED", date=day.isoformat(), current_count=3)
        if roll < 0.08:
            return _no("INSUFFICIENT_CREDITS")
        if roll < 0.10 and account.dialect == PUBLIC:
            self.later(account, "subscription.reactivated", timedelta(hours=self.rng.randrange(1, 90)))
            return _no("MANAGED_ACCOUNT_TASK_BLOCKED")
        if roll < 0.14:
            return _no(self.rng.choice(CODES))
        if slot is None or slot.state in ("failed", "dead"):
            is_new = slot is None or slot.state == "dead"
            if is_new and account.total is not None and self._used(account) >= account.total:
                return _no("NO_FREE_SLOT")
            position = len(account.slots) + 1 if slot is None else slot.position
            slot = Slot(account.bundle_id, video_id, f"tp_{account.bundle_id}_{position}", position, day)
            account.slots[video_id] = slot
        if account.dialect == PUBLIC:
            self.tell(account, "video.configured", video=slot)
        return Outcome("done", data={"video_id": slot.vendor_id, "position": slot.position})

    def _look(self, slot: Slot | None) -> Outcome:
        if self.rng.random() < 0.2:
            return Outcome("done", data={"slot": "unknown"})
        if slot is None or slot.state in ("dead", "failed"):
            return Outcome("done", data={"slot": "free"})
        if slot.state == "configured":
            slot.state = "dead"
            return Outcome("done", data={"slot": "free"})
        if slot.state == "posted":
            return Outcome("done", data={"slot": "posted", "url": f"https://t.example/{slot.vendor_id}"})
        return Outcome("done", data={"slot": "busy"})


def _no(code: str, asked_at: str | None = None, **details: Any) -> Outcome:
    data = {"details": details} | ({"asked_at": asked_at} if asked_at is not None else {})
    return Outcome("refused", code, f"refused: {code}", data)
