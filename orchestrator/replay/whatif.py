"""What other policies would have decided, over history as it was.

The journal is run on two lanes at once: as it was, with the policies of the time, and with the candidate in their
place. What TokPortal, people and time did is the same on both, as long as both ask the same of TokPortal. Where the
candidate sends something else about a video, or nothing, or at another moment, history has no answer to that: what
would have come of it nobody knows. There the video stops (and with the warming of an account, the account does): what
is reported of it afterwards answers what was really sent, and is kept from the candidate's lane.

So of each message the candidate's lane gets

* news, and what people ordered: unless it is about something that has stopped;
* results and answers: those of commands that it has itself;
* timers: its own. Where both lanes have set the same one, it rings when it really rang, else when it is due;
* the rest of big work: its own. Where both lanes left the same, it is done when it really was done, else at once.

A video that stopped keeps the place that the candidate gave it: nobody else gets that. What is decided about it from
there on is not told, since it would be guessed.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from orchestrator.database import Database
from orchestrator.domain.decisions import OURS
from orchestrator.domain.facts import KINDS
from orchestrator.journal.journal import COMMAND, DISPATCH, FOUND, LIVE, RESULT, TIMER, WEBHOOK, WORK
from orchestrator.outbox import Command
from orchestrator.replay.lanes import Lane, Outcome
from orchestrator.replay.rerun import quiet
from orchestrator.replay.source import Entry, Source, was_replaced

DECISIONS: Mapping[str, str] = {topic: kind.decision for topic, kind in OURS.items() if kind.decision is not None}
ABOUT_VIDEOS = frozenset(
    {"configure_video", "unschedule_video", "look_up_slot", "finalize_video", "request_corrections"}
)
"""Commands that TokPortal acts on: which are sent about a video is where its way parts."""
NOT_SENT = frozenset({"held", "discarded"})
MOST_KEPT = 1_000
OF_COUNTRIES = ("taken", "candidate", "differences", "stopped")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Decision:
    """`what`: what it says besides its reason, candidates left out."""

    kind: str
    reason: str | None
    what: Mapping[str, Any]

    def is_like(self, other: Decision) -> bool:
        return (self.kind, self.what) == (other.kind, other.what)


@dataclass(frozen=True, slots=True)
class Difference:
    """At a message, what was decided about a video, an account or a market, and what would have been. `stops`: why
    history can no longer answer for it; None where it can."""

    position: int
    message_id: str
    at: str
    subject: str
    country: str | None
    taken: tuple[Decision, ...]
    candidate: tuple[Decision, ...]
    stops: str | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Report:
    """`taken`: decisions by kind, `candidate`: those that the candidate would have taken, `comparable`: those taken
    about what had not stopped yet. `countries`: the same numbers, differences and stops by country."""

    first: int
    last: int
    taken: Counter[str] = field(default_factory=Counter)
    comparable: Counter[str] = field(default_factory=Counter)
    candidate: Counter[str] = field(default_factory=Counter)
    countries: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    differences: list[Difference] = field(default_factory=list)
    count: int = 0
    stopped: dict[str, str] = field(default_factory=dict)
    """What history can no longer answer for: a video or an account, and why."""
    subjects: set[str] = field(default_factory=set)
    """Everything that anything was decided about."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "last": self.last,
            "kinds": [
                {"kind": kind, "taken": self.taken[kind], "comparable": self.comparable[kind], "candidate": count}
                for kind, count in self.kinds()
            ],
            "countries": [
                {"country": country or None, **{name: counts[name] for name in OF_COUNTRIES}}
                for country, counts in sorted(self.countries.items())
                if any(counts.values())
            ],
            "subjects": len(self.subjects),
            "stopped": [{"subject": subject, "why": why} for subject, why in self.stopped.items()],
            "differences": self.count,
            "items": [difference.as_dict() for difference in self.differences],
        }

    def kinds(self) -> list[tuple[str, int]]:
        """Every kind of decision, and how many the candidate would have taken."""
        return [(kind, self.candidate[kind]) for kind in sorted(self.taken.keys() | self.candidate.keys())]

    def add(self, difference: Difference) -> None:
        self.count += 1
        counts = self.countries[difference.country or ""]
        counts["differences"] += 1
        if difference.stops is not None:
            counts["stopped"] += 1
            self.stopped[difference.subject] = difference.stops
        if len(self.differences) < MOST_KEPT:
            self.differences.append(difference)


def what_if(
    database: Database,
    candidate: str,
    *,
    first: int = 1,
    last: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """What the policies with the text `candidate` would have decided between two positions of the log.

    `progress` is told how many messages of how many are done.
    """
    source = Source(database)
    end = source.head if last is None else min(last, source.head)
    with quiet(), closing(Lane(source)) as taken, closing(Lane(source)) as other:
        run = _Run(candidate, taken, other, Report(first, end))
        for number, (entry, position) in enumerate(_history(source), start=1):
            if position > end:
                break
            run.take(entry, position)
            if progress is not None and number % 100 == 0:
                progress(number, source.messages)
    return run.report


def _history(source: Source) -> Iterator[tuple[Entry, int]]:
    """The messages in their order, each with the position at which its events begin."""
    position = 0
    coming: list[Entry] = source.entries()
    while coming:
        more = source.entries()
        for entry, after in zip(coming, [*coming[1:], more[0] if more else None], strict=True):
            yield entry, position + 1
            if not was_replaced(entry, after):
                position = max(position, entry.first_position + entry.events - 1)
        coming = more


class _Run:
    def __init__(self, candidate: str, taken: Lane, other: Lane, report: Report) -> None:
        self._candidate = candidate
        self._taken, self._other = taken, other
        self.report = report
        self._is_on = False
        """Whether the candidate is in force on its lane."""
        self._works: dict[str, bytes] = {}
        """Work that both lanes left, by its message, and that has not come yet."""
        self._real: dict[str, bytes] = {}

    def take(self, entry: Entry, position: int) -> None:
        begins = position >= self.report.first and not self._is_on
        if begins and self._other.desk.service().policies is not None:
            self._compare(entry, position, [], self._apply_candidate())
        rung = self._ring(entry.message.received_at)
        if rung:
            self._compare(entry, position, [], rung)
        was = self._taken.run(entry.message, entry.status)
        self._real |= {work.message_id: work.body for work in was.works}
        given = self._given(entry, was, begins)
        would = [] if given is None else self._settle(self._other.run(given, entry.status))
        self._compare(entry, position, [was], would)
        self._real.pop(entry.message.message_id, None)

    # What the candidate's lane gets.

    def _apply_candidate(self) -> list[Outcome]:
        self._is_on = True
        order = {"command": "policies.apply", "text": self._candidate}
        return self._settle(self._other.run(self._message(COMMAND, order, self._other.now, "candidate")))

    def _message(self, kind: str, body: Mapping[str, Any], at: int, name: str) -> Any:
        from orchestrator.journal.inbox import Taken

        message_id = "msg_" + hashlib.sha256(f"what-if\0{name}".encode()).hexdigest()[:32]
        actor = '{"kind":"agent","name":"what-if"}'
        return Taken(0, message_id, kind, "what-if", LIVE, None, None, msgspec.json.encode(body), actor, at)

    def _settle(self, outcome: Outcome) -> list[Outcome]:
        """Does the work that is the candidate's alone at once; what history has, too, is done when it comes."""
        outcomes, left = [outcome], list(outcome.works)
        while left:
            work = left.pop(0)
            if self._real.get(work.message_id) == work.body:
                self._works[work.message_id] = work.body
                continue
            message = self._message(WORK, {}, work.received_at, work.message_id)
            message = message._replace(message_id=work.message_id, body=work.body, actor=work.actor)
            done = self._other.run(message)
            outcomes.append(done)
            left += done.works
        return outcomes

    def _ring(self, until: int) -> list[Outcome]:
        """Rings the timers that only the candidate's lane has set, in their order."""
        outcomes: list[Outcome] = []
        while True:
            own = [
                (at, name)
                for name, (at, _) in self._other.timers.items()
                if at <= until and (self._taken.timers.get(name) or (None,))[0] != at
            ]
            if not own:
                return outcomes
            at, name = min(own)
            body = self._other.timers[name][1]
            if self._has_stopped(body.get("video_id"), body.get("bundle_id")):
                del self._other.timers[name]
                continue
            moment = (EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")
            told = {**body, "name": name, "due_at": moment, "fired_at": moment, "late": False, "late_by": 0}
            outcomes += self._settle(self._other.run(self._message(TIMER, told, at, f"{name}\0{at}")))

    def _given(self, entry: Entry, was: Outcome, begins: bool) -> Any:
        """The message as the candidate's lane gets it; None where it does not."""
        message = entry.message
        if message.kind == WEBHOOK:
            return None if self._is_about_stopped(was) else message
        body = _decode(message.body)
        if message.kind == COMMAND:
            return self._order(entry, body, was, begins)
        if message.kind == TIMER:
            return message if self._is_own_timer(body) else None
        if message.kind == WORK:
            return message if self._works.pop(message.message_id, None) is not None else None
        if message.kind == DISPATCH:
            names = [name for name in body["command_ids"] if self._is_own_command(name)]
            return message._replace(body=msgspec.json.encode({**body, "command_ids": names})) if names else None
        if message.kind == RESULT:
            return message if self._is_own_command(body["command_id"]) else None
        if message.kind == FOUND:
            return message._replace(body=msgspec.json.encode(self._found(body)))
        return message

    def _order(self, entry: Entry, body: Mapping[str, Any], was: Outcome, begins: bool) -> Any:
        if body["command"] == "policies.apply":
            if self._is_on:
                return None
            if begins:
                self._is_on = True
                return entry.message._replace(body=msgspec.json.encode({**body, "text": self._candidate}))
            return entry.message
        if body["command"] == "retry":
            return None if self._is_about_stopped(was) else entry.message
        if str(body["command"]).startswith("command.") and not self._is_own_command(body["command_id"]):
            return None
        return None if self._has_stopped(body.get("video_id"), body.get("bundle_id")) else entry.message

    def _has_stopped(self, video_id: Any, bundle_id: Any = None) -> bool:
        return f"video:{video_id}" in self.report.stopped or f"bundle:{bundle_id}" in self.report.stopped

    def _is_about_stopped(self, was: Outcome) -> bool:
        """Whether the facts that the message really brought are about something that has stopped."""
        return any(event.topic in KINDS and event.originator_id in self.report.stopped for event in was.events)

    def _is_own_timer(self, body: Mapping[str, Any]) -> bool:
        known = self._other.timers.get(body["name"])
        if known is None or self._has_stopped(body.get("video_id"), body.get("bundle_id")):
            return False
        return EPOCH + timedelta(microseconds=known[0]) == datetime.fromisoformat(body["due_at"])

    def _is_own_command(self, name: str) -> bool:
        command = self._other.outbox.get(name)
        return command is not None and not self._has_stopped(command.video_id, command.bundle_id)

    def _found(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What was read, without what is about videos and accounts that have stopped. How many slots an account has
        left depends on the videos there."""
        facts = [fact for fact in body.get("facts", ()) if not self._is_stopped_fact(fact)]
        slots = [count for count in body.get("slots", ()) if count["bundle_id"] not in self._disturbed()]
        return {**body, "facts": facts, **({"slots": slots} if "slots" in body else {})}

    def _is_stopped_fact(self, fact: Mapping[str, Any]) -> bool:
        video = fact.get("video")
        if video is None:
            return self._has_stopped(None, fact.get("bundle_id"))
        names = {video.get("external_ref"), video.get("vendor_id")} - {None}
        for name in [name for name in names if name is not None]:
            names |= {ours for _, ours in (*self._taken.desk.join(name).ours, *self._taken.desk.join(name).told)}
        return any(self._has_stopped(name) for name in names)

    def _disturbed(self) -> set[str]:
        """Accounts that have, or would have, a video that stopped."""
        found = set()
        for subject in self.report.stopped:
            kind, _, name = subject.partition(":")
            for lane in (self._taken, self._other):
                entry = lane.desk.video(name) if kind == "video" else None
                found |= {leg.bundle_id for leg in entry.legs} if entry is not None else set()
            if kind == "bundle":
                found.add(name)
        return found

    # What came of it.

    def _compare(self, entry: Entry, position: int, was: Sequence[Outcome], would: Sequence[Outcome]) -> None:
        if position < self.report.first:
            return
        taken, candidate = _decisions(was), _decisions(would)
        sent, would_send = self._sent(was, self._taken), self._sent(would, self._other)
        for subject in sorted(taken.keys() | candidate.keys() | sent.keys() | would_send.keys()):
            country = self._country_of(subject)
            counts = self.report.countries[country or ""]
            decided, other = taken.get(subject, []), candidate.get(subject, [])
            if decided or other:
                self.report.subjects.add(subject)
            self.report.taken.update(one.kind for one in decided)
            counts["taken"] += len(decided)
            if subject in self.report.stopped:
                continue
            self.report.comparable.update(one.kind for one in decided)
            self.report.candidate.update(one.kind for one in other)
            counts["candidate"] += len(other)
            stops = _why_it_stops(sent.get(subject, {}), would_send.get(subject, {}))
            is_like = len(decided) == len(other) and all(map(Decision.is_like, decided, other))
            if is_like and stops is None:
                continue
            at = datetime.fromtimestamp(entry.message.received_at / 1e6, UTC).isoformat().replace("+00:00", "Z")
            self.report.add(
                Difference(
                    position, entry.message.message_id, at, subject, country, tuple(decided), tuple(other), stops
                )
            )

    def _sent(self, outcomes: Sequence[Outcome], lane: Lane) -> dict[str, dict[str, Any]]:
        """What leaves the house, by whom it is about: commands by what they do, and how far they got."""
        found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for outcome in outcomes:
            for command in outcome.commands:
                if (subject := _subject(command)) is not None:
                    said = {"not_before": command.not_before, "price": command.price, **command.body}
                    found[subject][command.command_id] = [command.kind, said, command.status, command.reason]
            for move in outcome.moves:
                known = lane.outbox.get(move.command_id)
                if known is not None and (subject := _subject(known)) is not None:
                    entry = found[subject].setdefault(move.command_id, [known.kind, None, None, None])
                    entry[2:] = [move.status, move.reason]
        return found

    def _country_of(self, subject: str) -> str | None:
        kind, _, name = subject.partition(":")
        for lane in (self._taken, self._other):
            if kind == "market":
                return name.partition(":")[0]
            known: Any = lane.desk.video(name) if kind == "video" else lane.desk.bundle(name)
            if known is not None:
                return str(known.country) if known.country is not None else None
        return None


def _subject(command: Command) -> str | None:
    """Whose way parts where this command is another one."""
    if command.kind in ABOUT_VIDEOS:
        return f"video:{command.video_id}"
    return f"bundle:{command.bundle_id}" if command.kind == "start_warming" else None


def _decisions(outcomes: Iterable[Outcome]) -> dict[str, list[Decision]]:
    found: defaultdict[str, list[Decision]] = defaultdict(list)
    for outcome in outcomes:
        for event in outcome.events:
            if event.topic in DECISIONS:
                said = _decode(event.state)
                what = {name: value for name, value in said["data"].items() if name != "candidates"}
                found[event.originator_id].append(Decision(DECISIONS[event.topic], said["reason"], what))
    return found


def _why_it_stops(sent: Mapping[str, Any], would: Mapping[str, Any]) -> str | None:
    """Why TokPortal's answers are no answers to what the candidate sends; None if they are. What is held is not sent,
    and neither is what was taken back."""
    sent, would = ({name: c for name, c in one.items() if c[2] not in NOT_SENT} for one in (sent, would))
    was = [sent[name] for name in sent if name not in would or sent[name][:3] != would[name][:3]]
    now = [would[name] for name in would if name not in sent or sent[name][:3] != would[name][:3]]
    if was and now:
        return f"{_done(was[0])}; with the candidate {_done(now[0])}"
    if was:
        return f"{_done(was[0])}; with the candidate it was not"
    return f"with the candidate {_done(now[0])}; it never was" if now else None


def _done(command: Sequence[Any]) -> str:
    kind, said, status, _ = command
    how = {"running": "was sent", "pending": "was to be sent"}.get(status, f"was {status}")
    where = f" for {said['bundle_id']}" if said is not None and said.get("bundle_id") is not None else ""
    day = f" on {said['target_day']}" if said is not None and said.get("target_day") is not None else ""
    return f"{kind}{where}{day} {how}"
