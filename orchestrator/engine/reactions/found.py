"""What reconciliation read at TokPortal, held against what is known.

Of everything that was read only what makes a difference is recorded, as a fact of the dialect `api`: with the vendor's
own time, or, where a listing does not tell since when something is so, as of the moment of the request. What webhooks
told already is no difference, and neither is what they told since. So it does no harm to read the same thing again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from orchestrator.dialects import Reading
from orchestrator.domain.bundle import Bundle, BundleView, bundle_view
from orchestrator.domain.decisions import Step, VideoRescheduled
from orchestrator.domain.facts import API, KINDS, Note
from orchestrator.domain.found import is_same_ban
from orchestrator.domain.video import Leg, Plan, Video, is_ours, video_view
from orchestrator.engine import decide
from orchestrator.engine.reactions import bundles, joins, videos
from orchestrator.engine.turn import Turn

SKEW = timedelta(minutes=10)
"""How far TokPortal's clock may be from ours: what was told within this time of a request is not undone by its answer.
Should it be wrong, the next sweep says so."""
NOTHING_KNOWN = bundle_view([])
CLOSING = frozenset({"BundleCancelled", "BundleArchived"})
DELIVERED = frozenset({"ready", "warming", "completed", "failed"})
WITH_VENDOR = frozenset({"VideoScheduled", "VideoHandedOver"})


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was read. `is_dated`: `occurred_at` is the vendor's own time."""

    name: str
    event_id: str
    occurred_at: datetime
    is_dated: bool
    bundle_id: str | None
    account: str | None
    country: str | None
    platform: str | None
    data: Mapping[str, Any]
    video: Mapping[str, Any] | None

    @property
    def names(self) -> str | None:
        """The account that it names as of `occurred_at`. Of what may have begun earlier nobody knows whose it was."""
        return self.account if self.is_dated or self.name == "BundleMentioned" else None

    @property
    def note(self) -> Note:
        kept = getattr(KINDS[self.name], "keeps", ())
        return Note(
            self.name,
            self.occurred_at,
            self.event_id,
            API,
            self.bundle_id,
            self.names,
            self.country,
            self.platform,
            {name: self.data[name] for name in kept if name in self.data},
        )


def take(turn: Turn, body: Mapping[str, Any]) -> None:
    """Takes in what was read: `source`, `asked_at`, `facts`, and perhaps `slots`, `contract`, `credits`, `outage`."""
    asked_at = min(datetime.fromisoformat(body["asked_at"]), turn.now)
    quiet = bool(body.get("discovery"))
    facts = [_read(turn, body["source"], fact, asked_at) for fact in body.get("facts", ())]
    turn.load({Bundle.key(fact.bundle_id) for fact in facts if fact.bundle_id is not None})
    turn.load({Video.key(str(fact.video["vendor_id"])) for fact in facts if fact.video and fact.video.get("vendor_id")})
    of_bundles: dict[str, list[Found]] = {}
    for fact in facts:
        if fact.video is None and fact.bundle_id is not None:
            of_bundles.setdefault(fact.bundle_id, []).append(fact)
    for bundle_id, found in of_bundles.items():
        _take_bundle(turn, bundle_id, found, asked_at)
    for fact in facts:
        if fact.video is not None:
            _take_video(turn, fact, asked_at, quiet)
        elif fact.bundle_id is None and fact.account is not None:
            _take_account(turn, fact)
    for count in body.get("slots", ()):
        bundles.count_slots(turn, count["bundle_id"], count["total"], count["free"], asked_at)
    if "contract" in body:
        _compare_contract(turn, body["contract"])
    if "credits" in body:
        _look_at_credits(turn, body["credits"])
    if "outage" in body:
        _tell_of_outage(turn, body["outage"])


def _read(turn: Turn, source: str, fact: Mapping[str, Any], asked_at: datetime) -> Found:
    said = fact.get("occurred_at")
    occurred_at = min(datetime.fromisoformat(said), turn.now) if said is not None else asked_at
    is_dated = said is not None and not fact.get("is_latest")
    data = dict(fact.get("data") or {})
    if not is_dated:
        data["as_of"] = asked_at.isoformat()
    video = fact.get("video")
    subject = [fact.get("bundle_id"), fact.get("account"), video]
    says = [fact["fact"], occurred_at.isoformat(), *(data.get(name) for name in ("id", "url", "review", "outcome"))]
    name = hashlib.sha256(msgspec.json.encode([source, subject, says])).hexdigest()[:32]
    return Found(
        name=fact["fact"],
        event_id=f"found_{name}",
        occurred_at=occurred_at,
        is_dated=is_dated,
        bundle_id=fact.get("bundle_id"),
        account=fact.get("account"),
        country=fact.get("country"),
        platform=fact.get("platform"),
        data=data,
        video=video,
    )


def _compare_contract(turn: Turn, contract: Mapping[str, Sequence[str]]) -> None:
    """Which types of webhooks TokPortal lists and this program does not know, and the other way round."""
    unknown, missing = sorted(contract["unknown"]), sorted(contract["missing"])
    said = []
    if unknown:
        said.append(f"it sends {', '.join(unknown)}, which this program does not know: journalled as unrecognised")
    if missing:
        said.append(f"it no longer lists {', '.join(missing)}")
    if said:
        once = f"contract:{','.join(unknown)}:{','.join(missing)}"
        turn.alert("contract", f"TokPortal's webhooks have changed: {'; '.join(said)}", once=once)
    else:
        turn.resolve("contract", "", "TokPortal's webhooks are those that this program knows")


def _tell_of_outage(turn: Turn, outage: Mapping[str, str] | None) -> None:
    """That TokPortal has not answered for a while; None where it does again."""
    if outage is None:
        turn.resolve("outage", "", "TokPortal answers again")
        return
    text = f"since {outage['since']} no request to TokPortal was answered, and commands wait: {outage['why']}"
    turn.alert("outage", text, once=f"outage:{outage['since']}")


def _look_at_credits(turn: Turn, credits: Mapping[str, int | None]) -> None:
    expiring = credits.get("expiring")
    if expiring:
        text = f"{expiring} of {credits.get('total')} credits at TokPortal expire within 7 days"
        turn.alert("budget", text, once=f"expiring:{turn.now.date().isoformat()}")


# Bundles


def _take_bundle(turn: Turn, bundle_id: str, facts: Sequence[Found], asked_at: datetime) -> None:
    """What was read of one bundle. Policies look at it when all of it is recorded."""
    changed = False
    for fact in facts:
        view = _view(turn, bundle_id)
        if fact.name == "BundleMentioned":
            changed = _mention(turn, bundle_id, fact, view, asked_at) or changed
            continue
        # It began at some time until the row was changed last, or until TokPortal was asked: the earlier of the two,
        # unless something else was true by then.
        ends = [fact] if fact.is_dated else [fact, replace(fact, occurred_at=asked_at)]
        news = next((one for one in ends if _is_news(turn, bundle_id, one, view)), None)
        if news is not None:
            _record(turn, turn.bundle(bundle_id), news)
            changed = True
    if changed:
        bundles.changed(turn, [bundle_id])


def _view(turn: Turn, bundle_id: str) -> BundleView | None:
    try:
        return turn.view(bundle_id)
    except LookupError:
        return None


def _mention(turn: Turn, bundle_id: str, fact: Found, view: BundleView | None, asked_at: datetime) -> bool:
    """The bundle as it stands: where it is, and which account it has now."""
    account = fact.account
    known = view.saved_account_id if view is not None else None
    if account is not None and known is not None and account != known:
        if _is_remade(turn, bundle_id, account, known, asked_at):
            _record(turn, turn.bundle(bundle_id), fact, "AccountRemade")
            return True
        return False
    is_named = account is not None and known is None
    if view is not None and not is_named:
        bundle = turn.bundle(bundle_id)
        if not bundle.needs_mention(fact.note.key, fact.country, fact.platform, None):
            return False
    if not is_named and fact.country is None and fact.platform is None:
        return False
    turn.bundle(bundle_id).record(
        KINDS["BundleMentioned"],
        timestamp=turn.now,
        message_id=turn.message.message_id,
        occurred_at=fact.occurred_at,
        event_id=fact.event_id,
        dialect=API,
        account=account if is_named else None,
        country=fact.country,
        platform=fact.platform,
    )
    return True


def _is_remade(turn: Turn, bundle_id: str, account: str, known: str, asked_at: datetime) -> bool:
    """Whether a bundle that has another account than the `known` one was remade, rather than that the listing is
    behind."""
    notes = turn.bundle(bundle_id).notes
    if any(note.account == known and note.occurred_at > asked_at - SKEW for note in notes):
        return False
    last = max((note for note in notes if note.name == "AccountRemade"), key=lambda note: note.key, default=None)
    if last is None:
        return True
    is_former = any(note.account == account and note.key < last.key for note in notes)
    return not is_former and asked_at > last.occurred_at + SKEW


def _is_news(turn: Turn, bundle_id: str, fact: Found, view: BundleView | None) -> bool:
    """Whether the fact would change what the bundle is."""
    if view is None:
        return _substance(turn.view(bundle_id, [fact.note])) != _substance(NOTHING_KNOWN)
    if fact.account is not None and view.saved_account_id is not None and fact.account != view.saved_account_id:
        return False  # It is about an account that the bundle no longer has.
    notes = turn.bundle(bundle_id).notes
    if any(note.event_id == fact.event_id and note.dialect == API for note in notes):
        return False
    if fact.name == "BundleBanned" and any(is_same_ban(told, fact.note) for told in _bans(turn, bundle_id)):
        return False
    if fact.name in CLOSING and _is_recent(notes, {"BundlePublished"}, fact):
        return False
    if fact.name == "BundlePublished" and _is_recent(notes, CLOSING, fact):
        return False
    return _substance(turn.view(bundle_id, [fact.note])) != _substance(view)


def _is_recent(notes: Iterable[Note], names: Iterable[str], fact: Found) -> bool:
    """Whether one of these was told at about the time of the request, so that nobody can say which came last."""
    return any(note.name in names and note.occurred_at > fact.occurred_at - SKEW for note in notes)


def _bans(turn: Turn, bundle_id: str) -> list[Note]:
    """The bans that are known of the account, whichever of its bundles they were reported for."""
    family = [bundle_id, *sorted(turn.desk.kin(bundle_id))]
    turn.load(Bundle.key(name) for name in family)
    known = [turn.bundle(name).notes for name in family if turn.desk.bundle(name) is not None]
    return [note for notes in known for note in notes if note.name == "BundleBanned"]


def _substance(view: BundleView) -> tuple[object, ...]:
    """What a bundle is, whenever it became so."""
    places = (view.country, view.platform, view.saved_account_id, view.username)
    return view.state, view.warmed, view.holds, view.era, *places


def _record(turn: Turn, subject: Any, fact: Found, name: str | None = None) -> None:
    subject.record(
        KINDS[name or fact.name],
        timestamp=turn.now,
        message_id=turn.message.message_id,
        occurred_at=fact.occurred_at,
        event_id=fact.event_id,
        dialect=API,
        bundle_id=fact.bundle_id,
        account=fact.names,
        country=fact.country,
        platform=fact.platform,
        data=dict(fact.data),
    )


def _take_account(turn: Turn, fact: Found) -> None:
    """A fact that names only an account speaks for its bundles."""
    account = str(fact.account)
    if fact.name == "BundleMentioned":
        for bundle_id in turn.desk.bundles_of(account):
            _introduce(turn, bundle_id, fact)
        return
    for bundle_id in turn.desk.bundles_of(account):
        view = turn.view(bundle_id)
        if view.saved_account_id == account and not _is_news(turn, bundle_id, fact, view):
            return
    _record(turn, turn.account(account), fact)
    bundles.account_changed(turn, account)


def _introduce(turn: Turn, bundle_id: str, fact: Found) -> None:
    """Where the account of a bundle is, and how it is called there."""
    view = turn.view(bundle_id)
    if view.saved_account_id != fact.account:
        return
    name = hashlib.sha256(f"{fact.event_id}\0{bundle_id}".encode()).hexdigest()[:32]
    own = replace(fact, event_id=f"found_{name}", bundle_id=bundle_id)
    is_changed = _mention(turn, bundle_id, own, view, fact.occurred_at)
    username = fact.data.get("username")
    if username is not None and username != view.username and view.state in DELIVERED:
        _record(turn, turn.bundle(bundle_id), own, "BundleReady")
        is_changed = True
    if is_changed:
        bundles.changed(turn, [bundle_id])


# Videos


def _take_video(turn: Turn, fact: Found, asked_at: datetime, quiet: bool) -> None:
    """What a slot of a bundle carries, and how far it has come."""
    names: Mapping[str, Any] = fact.video or {}
    data = {
        "video_id": names.get("vendor_id"),
        "position": names.get("position"),
        "external_ref": names.get("external_ref"),
        **fact.data,
    }
    data = {name: value for name, value in data.items() if value is not None}
    vendor_id, reference = names.get("vendor_id"), names.get("external_ref")
    if vendor_id is not None:
        video_id = joins.named(turn, vendor_id, fact.bundle_id, data, fact.occurred_at)
    elif reference is not None and turn.is_ours(reference):
        video_id = reference
    else:
        return  # Without TokPortal's id nobody can tell whether it is the same one next time.
    video = turn.known_video(video_id)
    if video is not None and turn.is_ours(video_id):
        plan = Plan(video.notes, video.steps)
        leg = next((leg for leg in plan.legs if leg.bundle_id == fact.bundle_id), None)
        if leg is not None and not _may_speak(video, plan, leg, fact, asked_at):
            return
        if leg is not None and _is_moved(video, leg, fact, asked_at):
            _note_day(turn, video, leg, str(fact.data["target_day"]))
    if not _is_video_news(video, fact):
        return
    reading = Reading(
        KINDS[fact.name],
        fact.occurred_at,
        bundle_id=fact.bundle_id,
        video_id=vendor_id or video_id,
        account=fact.account,
        country=fact.country,
        platform=fact.platform,
        data=data,
    )
    decide.apply(reading, turn, (fact.event_id, API), quiet=quiet)


def _may_speak(video: Video, plan: Plan, leg: Leg, fact: Found, asked_at: datetime) -> bool:
    """Whether what a slot shows can be about this attempt, as it is now. What is posted, is posted."""
    if fact.name == "VideoPosted":
        return True
    if leg.left or leg is not plan.live or leg.failure is not None:
        # A slot keeps what it shows for a while after the account or the attempt was given up: no sign of life.
        # But what was never handed to it, as far as anybody knew, is news.
        return leg.sent is None and leg.taken_at is None
    # After a retry the slot shows the last try until TokPortal has taken the new one.
    return leg.tries == 1 or _is_taken(video, leg, asked_at)


def _is_taken(video: Video, leg: Leg, asked_at: datetime) -> bool:
    """Whether TokPortal had taken this very try when it was asked."""
    return any(
        note.dialect == API
        and note.name == "VideoScheduled"
        and note.event_id == leg.sent
        and note.occurred_at <= asked_at
        for note in video.notes
    )


def _is_video_news(video: Video | None, fact: Found) -> bool:
    """Whether the fact would change what the video is."""
    if video is None:
        return True
    if any(note.event_id == fact.event_id and note.dialect == API for note in video.notes):
        return False
    notes = [*video.notes, fact.note]
    return _video_substance(notes, video.steps) != _video_substance(video.notes, video.steps)


def _video_substance(notes: Sequence[Note], steps: Sequence[Step]) -> tuple[object, ...]:
    """What a video is, whenever it became so; and which accounts are known to have it, handed to them or not."""
    view = video_view(notes, steps)
    have = [leg.bundle_id for leg in Plan(notes, steps).legs if leg.taken_at is not None] if is_ours(steps) else []
    reviews = {note.detail.get("review") for note in notes if note.name == "VideoPosted"}
    is_in_review = "open" in reviews and "final" not in reviews
    return view.state, view.bundle_id, view.post_url, view.flags, view.attempts, is_in_review, have


def _is_moved(video: Video, leg: Leg, fact: Found, asked_at: datetime) -> bool:
    """Whether TokPortal moved a video that it has to another day, as it does by itself when coverage is reactivated."""
    day = fact.data.get("target_day")
    if fact.name not in WITH_VENDOR or day is None or day == leg.target_day or leg.posted is not None:
        return False
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return _is_taken(video, leg, asked_at)


def _note_day(turn: Turn, video: Video, leg: Leg, day: str) -> None:
    turn.record(
        video,
        VideoRescheduled,
        reason=f"TokPortal moved it from {leg.target_day}",
        number=leg.number,
        bundle_id=leg.bundle_id,
        target_day=day,
    )
    videos.consider(turn, video.video_id)
