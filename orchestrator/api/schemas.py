"""JSON schemas of the answers, with an example of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.domain import bundle, campaign, video
from orchestrator.domain.countries import PLATFORMS
from orchestrator.domain.decisions import OURS
from orchestrator.journal.inbox import STATUSES
from orchestrator.journal.journal import KINDS
from orchestrator.outbox import outbox

JsonSchema = dict[str, Any]

TIME: JsonSchema = {"type": "string", "format": "date-time", "description": "ISO 8601 in UTC"}
SOME_TIME: JsonSchema = {"type": ["string", "null"], "format": "date-time", "description": "ISO 8601 in UTC"}
TEXT: JsonSchema = {"type": "string"}
SOME_TEXT: JsonSchema = {"type": ["string", "null"]}
NUMBER: JsonSchema = {"type": "integer", "minimum": 0}
SOME_NUMBER: JsonSchema = {"type": ["integer", "null"], "minimum": 0}
POSITION: JsonSchema = {**NUMBER, "description": "the log position that this reflects"}
COUNTRY: JsonSchema = {"type": ["string", "null"], "description": "ISO 3166 alpha-2; null until it is learnt"}
PLATFORM: JsonSchema = {"type": ["string", "null"], "enum": [*sorted(PLATFORMS), None]}
TEXTS: JsonSchema = {"type": "array", "items": TEXT}
COUNTS: JsonSchema = {"type": "object", "additionalProperties": NUMBER, "description": "number by state"}
BUNDLE_STATE: JsonSchema = {"type": "string", "enum": list(bundle.STATES)}
VIDEO_STATE: JsonSchema = {"type": "string", "enum": list(video.STATES)}
DECISIONS = sorted({kind.decision for kind in OURS.values() if kind.decision is not None})
STATUS: JsonSchema = {"type": "string", "enum": list(STATUSES)}


def ref(name: str) -> JsonSchema:
    return {"$ref": f"#/components/schemas/{name}"}


def listing(name: str) -> JsonSchema:
    """A page of a list of `name`."""
    return record(
        items={"type": "array", "items": ref(name)},
        next={"type": ["string", "null"], "description": "the cursor of the next page; null on the last one"},
        position=POSITION,
    )


def record(*, optional: Sequence[str] = (), **properties: JsonSchema) -> JsonSchema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def maybe(schema: JsonSchema) -> JsonSchema:
    return {"anyOf": [schema, {"type": "null"}]}


ERROR = record(code=SOME_TEXT, message=SOME_TEXT)
CAUSE = record(
    message_id={**SOME_TEXT, "description": "the message that caused it"},
    event_id={**SOME_TEXT, "description": "the vendor's event id"},
)
ACTOR = record(kind=TEXT, name=TEXT)

SCHEMAS: dict[str, JsonSchema] = {
    "Bundle": record(
        bundle_id=TEXT,
        platform=PLATFORM,
        country=COUNTRY,
        group=TEXT,
        state=BUNDLE_STATE,
        state_since=SOME_TIME,
        warmed={"type": "boolean"},
        postable={"type": "boolean", "description": "whether videos may be placed on it now"},
        holds={**TEXTS, "description": "what stands beside the state and stops posting"},
        flags=TEXTS,
        username=SOME_TEXT,
        saved_account_id=SOME_TEXT,
        slots=maybe(record(total=NUMBER, free=NUMBER)),
        last_error=maybe(ERROR),
        videos=COUNTS,
        first_seen=TIME,
        last_event_at=SOME_TIME,
        position=POSITION,
    ),
    "Attempt": record(
        number={"type": "integer", "minimum": 1},
        bundle_id=TEXT,
        state=TEXT,
        tries={"type": "integer", "minimum": 1},
        target_day={"type": ["string", "null"], "format": "date"},
        error=maybe(ERROR),
    ),
    "Metrics": record(views=SOME_NUMBER, likes=SOME_NUMBER, shares=SOME_NUMBER, comments=SOME_NUMBER, as_of=TIME),
    "Video": record(
        video_id=TEXT,
        campaign_id={**SOME_TEXT, "description": "null for a video that TokPortal reported and nobody planned here"},
        ref=SOME_TEXT,
        platform=PLATFORM,
        country=COUNTRY,
        group=TEXT,
        state=VIDEO_STATE,
        reason={**SOME_TEXT, "description": "why it is in this state, where the state alone does not say"},
        bundle_id=SOME_TEXT,
        post_url=SOME_TEXT,
        posted_at=SOME_TIME,
        flags=TEXTS,
        attempts={"type": "array", "items": ref("Attempt")},
        metrics=maybe(ref("Metrics")),
        position=POSITION,
    ),
    "Country": record(
        country=TEXT,
        platform=PLATFORM,
        bundles=COUNTS,
        postable=NUMBER,
        spare={
            "type": "object",
            "additionalProperties": NUMBER,
            "description": "how many more videos its accounts could have, by local day",
        },
        videos=COUNTS,
        breaker={"type": "string", "enum": ["closed", "open"]},
        paused={"type": "boolean", "description": "whether a person paused it"},
        position=POSITION,
    ),
    "HistoryItem": record(
        position=POSITION,
        event=TEXT,
        occurred_at={
            **TIME,
            "description": "when the vendor says it happened; what we did ourselves happened when it was recorded",
        },
        recorded_at={**TIME, "description": "when we recorded it"},
        data={"type": "object", "description": "what the vendor sent, or what was decided"},
        cause=CAUSE,
        actor=ACTOR,
        reason=SOME_TEXT,
    ),
    "Event": record(
        optional=["subject", "ours"],
        position=POSITION,
        aggregate=record(kind=TEXT, id=TEXT),
        version={"type": "integer", "minimum": 1, "description": "1 for the first event of its aggregate"},
        event=TEXT,
        occurred_at={**SOME_TIME, "description": "when the vendor says it happened; null for what is no fact"},
        recorded_at={**TIME, "description": "when we recorded it"},
        data={"type": "object"},
        cause=CAUSE,
        subject={
            **record(bundle_id=SOME_TEXT, saved_account_id=SOME_TEXT, country=SOME_TEXT, platform=SOME_TEXT),
            "description": "what a fact names besides its aggregate",
        },
        ours={
            **record(actor={"type": "object"}, reason=SOME_TEXT, policy=SOME_TEXT),
            "description": "who wanted an event of ours, and why",
        },
    ),
    "Message": record(
        optional=["body_base64", "body_truncated"],
        message_id=TEXT,
        kind={"type": "string", "enum": list(KINDS)},
        event_id=SOME_TEXT,
        dialect=SOME_TEXT,
        received_at=TIME,
        deliveries={"type": "integer", "minimum": 1, "description": "how often it came"},
        status=STATUS,
        reason=SOME_TEXT,
        actor={"type": "object", "description": "who sent it: `kind` and `name`"},
        events={"type": "array", "items": NUMBER, "description": "log positions of what it caused"},
        body={**SOME_TEXT, "description": "as it came; null where it is no UTF-8. Lists show 2,000 characters of it"},
        body_base64={"type": "string", "description": "the body where it is no UTF-8"},
        body_truncated={"type": "boolean", "description": "true where the body was cut"},
        position=POSITION,
    ),
    "Planned": record(
        optional=["state"],
        video_id=TEXT,
        ref=TEXT,
        bundle_id=TEXT,
        country=TEXT,
        platform=TEXT,
        target_day={"type": ["string", "null"], "format": "date"},
        state={**VIDEO_STATE, "description": "once the campaign was started"},
    ),
    "Unmet": record(video_id=TEXT, ref=TEXT, country=SOME_TEXT, platform=SOME_TEXT, reason=SOME_TEXT),
    "Plan": record(
        campaign_id=TEXT,
        status={"type": "string", "enum": list(campaign.STATUSES)},
        plan={"type": "array", "items": ref("Planned")},
        unmet={"type": "array", "items": ref("Unmet")},
        notes={**TEXTS, "description": "what else to know of the plan"},
        position=POSITION,
    ),
    "Campaign": record(
        optional=["plan", "unmet"],
        campaign_id=TEXT,
        name=TEXT,
        group=TEXT,
        status={"type": "string", "enum": list(campaign.STATUSES)},
        reason=SOME_TEXT,
        placing={"type": "boolean", "description": "whether its videos are still being placed for the first time"},
        starts=SOME_TEXT,
        ends=SOME_TEXT,
        labels={"type": "object", "additionalProperties": TEXT},
        origin={"type": ["object", "null"]},
        videos={**NUMBER, "description": "how many posts it asks for"},
        progress=record(by_state=COUNTS, by_country=COUNTS, by_day=COUNTS),
        created_at=TIME,
        changed_at=TIME,
        plan={
            "type": "array",
            "items": ref("Planned"),
            "description": "of one campaign: where its videos go, as drafted, and since the start as it is now",
        },
        unmet={"type": "array", "items": ref("Unmet"), "description": "of one campaign: what waits, and why"},
        position=POSITION,
    ),
    "Decision": record(
        position=POSITION,
        kind={"type": "string", "enum": list(DECISIONS)},
        video_id=SOME_TEXT,
        bundle_id=SOME_TEXT,
        from_bundle=SOME_TEXT,
        to_bundle=SOME_TEXT,
        country=SOME_TEXT,
        platform=SOME_TEXT,
        reason=SOME_TEXT,
        cause=record(
            message_id=TEXT,
            event_id=SOME_TEXT,
            answers={"type": ["array", "null"], "description": "the key of the fact that it answers"},
        ),
        actor={"type": "object", "description": "who wanted it: `kind` and `name`"},
        policy={**SOME_TEXT, "description": "SHA-256 of the policies in force"},
        candidates={
            "type": "array",
            "items": record(bundle_id=TEXT, chosen={"type": "boolean"}, why=TEXT),
            "description": "the accounts that were considered, at most 200",
        },
        counts={**COUNTS, "description": "how many were passed over for which reason"},
        at=TIME,
    ),
    "Command": record(
        command_id=TEXT,
        kind={"type": "string", "enum": list(outbox.KINDS)},
        status={"type": "string", "enum": list(outbox.STATUSES)},
        reason={**SOME_TEXT, "description": "why it waits, or what came of it"},
        bundle_id=SOME_TEXT,
        video_id=SOME_TEXT,
        campaign_id=SOME_TEXT,
        country=SOME_TEXT,
        platform=SOME_TEXT,
        body={"type": "object"},
        idempotency_key=SOME_TEXT,
        price={**SOME_NUMBER, "description": "credits; null for what is free"},
        attempts=NUMBER,
        last_error=SOME_TEXT,
        not_before={**TIME, "description": "when it is sent at the earliest"},
        created_at=TIME,
        message_id={**TEXT, "description": "the message that caused it"},
        position=POSITION,
    ),
    "Finding": record(
        line=NUMBER,
        column=NUMBER,
        key={**TEXT, "description": "the dotted path of what it is about; empty for the whole document"},
        message=TEXT,
    ),
    "Policies": record(
        version={**SOME_TEXT, "description": "what decisions call these policies: the SHA-256 of the text"},
        text=SOME_TEXT,
        sha256=SOME_TEXT,
        since=maybe(record(position=POSITION, recorded_at=TIME)),
        actor={"type": ["object", "null"]},
        warnings={"type": "array", "items": ref("Finding")},
        position=POSITION,
    ),
    "Projection": record(
        name=TEXT,
        position=POSITION,
        head={**NUMBER, "description": "the end of the log"},
        lag={**NUMBER, "description": "events still to be followed"},
        state={
            "type": "string",
            "enum": ["live", "rebuilding", "failed", "behind"],
            "description": "whether it is being made anew, stopped, or is far behind",
        },
        progress={"type": ["number", "null"], "description": "of a rebuild under way, from 0 to 1"},
        version={**SOME_NUMBER, "description": "of the program's code that made its rows"},
        failure=maybe(record(position=NUMBER, event=SOME_TEXT, reason=TEXT)),
        rebuild=maybe(
            record(
                stage=TEXT,
                progress={"type": "number"},
                events_per_second=SOME_NUMBER,
                seconds_left={"type": ["number", "null"]},
                reason={**SOME_TEXT, "description": "why it failed, if it did"},
            )
        ),
    ),
    "Accepted": record(message_id={**TEXT, "description": "the command's message in the journal"}),
    "Health": record(
        status={"type": "string", "enum": ["pass", "fail"]},
        checks={
            "type": "object",
            "additionalProperties": record(status={"type": "string", "enum": ["pass", "fail"]}, detail=TEXT),
        },
    ),
    "Problem": {
        "type": "object",
        "description": "RFC 9457 problem details",
        "properties": {
            "type": {"type": "string", "format": "uri", "description": "the kind of problem; stable"},
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "what is wrong, and what would be right"},
        },
        "required": ["type", "title", "status", "detail"],
        "additionalProperties": True,
    },
}

_AT = "2026-11-20T17:00:00Z"

EXAMPLES: dict[str, Any] = {
    "Bundle": {
        "bundle_id": "bdl_us_1",
        "platform": "tiktok",
        "country": "US",
        "group": "default",
        "state": "completed",
        "state_since": _AT,
        "warmed": True,
        "postable": True,
        "holds": [],
        "flags": [],
        "username": "acme.us",
        "saved_account_id": None,
        "slots": None,
        "last_error": None,
        "videos": {"posted": 3, "scheduled": 1},
        "first_seen": "2026-11-01T08:00:00Z",
        "last_event_at": _AT,
        "position": 4711,
    },
    "Attempt": {
        "number": 1,
        "bundle_id": "bdl_us_1",
        "state": "posted",
        "tries": 1,
        "target_day": None,
        "error": None,
    },
    "Metrics": {"views": 1200, "likes": 85, "shares": 4, "comments": 11, "as_of": _AT},
    "Country": {
        "country": "US",
        "platform": "tiktok",
        "bundles": {"completed": 12, "warming": 3},
        "postable": 11,
        "spare": {"2026-11-21": 31, "2026-11-22": 33},
        "videos": {"posted": 40, "scheduled": 6},
        "breaker": "closed",
        "paused": False,
        "position": 4711,
    },
    "HistoryItem": {
        "position": 17,
        "event": "WarmingStarted",
        "occurred_at": _AT,
        "recorded_at": "2026-11-20T17:00:00.412Z",
        "data": {"mode": "niche"},
        "cause": {"message_id": "msg_0c5be6f6a2b14b5a8a3a3f0d1f8f3b1e", "event_id": "evt_a03"},
        "actor": {"kind": "vendor", "name": "tokportal"},
        "reason": None,
    },
    "Event": {
        "position": 17,
        "aggregate": {"kind": "bundle", "id": "bdl_us_1"},
        "version": 4,
        "event": "WarmingStarted",
        "occurred_at": _AT,
        "recorded_at": "2026-11-20T17:00:00.412Z",
        "data": {"mode": "niche"},
        "cause": {"message_id": "msg_0c5be6f6a2b14b5a8a3a3f0d1f8f3b1e", "event_id": "evt_a03"},
        "subject": {"bundle_id": "bdl_us_1", "saved_account_id": None, "country": "US", "platform": "tiktok"},
    },
    "Message": {
        "message_id": "msg_0c5be6f6a2b14b5a8a3a3f0d1f8f3b1e",
        "kind": "webhook",
        "event_id": "evt_a03",
        "dialect": "article",
        "received_at": "2026-11-20T17:00:00.412Z",
        "deliveries": 1,
        "status": "applied",
        "reason": None,
        "actor": {"kind": "vendor", "name": "tokportal"},
        "events": [17],
        "body": '{"id": "evt_a03", "event": "bundle.warming_started", …}',
        "position": 4711,
    },
    "Projection": {
        "name": "bundles",
        "position": 4700,
        "head": 4711,
        "lag": 11,
        "state": "live",
        "progress": None,
        "version": 1,
        "failure": None,
        "rebuild": None,
    },
    "Accepted": {"message_id": "msg_5f0e8a1c9d2b4c6fa7e3b0d4c8f1a2e9"},
    "Health": {"status": "pass", "checks": {"database": {"status": "pass", "detail": "can be read"}}},
    "Problem": {
        "type": "urn:orchestrator:problem:bad-query",
        "title": "The query cannot be answered",
        "status": 400,
        "detail": "There is no parameter stat. Did you mean state? This address takes limit, cursor, state.",
    },
}
EXAMPLES["Campaign"] = {
    "campaign_id": "cmp_16c1848d5e7252869556b5fa58573e60",
    "name": "spring-launch",
    "group": "default",
    "status": "running",
    "reason": None,
    "placing": False,
    "starts": "2026-12-01",
    "ends": "2026-12-14",
    "labels": {"product": "p1"},
    "origin": None,
    "videos": 2,
    "progress": {"by_state": {"planned": 2}, "by_country": {"US": 2}, "by_day": {"2026-12-01": 2}},
    "created_at": _AT,
    "changed_at": _AT,
    "position": 4711,
}
EXAMPLES["Decision"] = {
    "position": 4711,
    "kind": "reroute",
    "video_id": "vid_1001",
    "bundle_id": "bdl_us_2",
    "from_bundle": "bdl_us_1",
    "to_bundle": "bdl_us_2",
    "country": None,
    "platform": None,
    "reason": "the account is banned; bdl_us_2 takes it on 2026-12-02: least loaded",
    "cause": {"message_id": "msg_0c5be6f6a2b14b5a8a3a3f0d1f8f3b1e", "event_id": None, "answers": None},
    "actor": {"kind": "policy", "name": "policies"},
    "policy": "2b72fa199d69e3cbfe57ecae9b2a4c1d71e145e8bbb2859a67aadbe85783c12f",
    "candidates": [
        {"bundle_id": "bdl_us_2", "chosen": True, "why": "chosen: least loaded"},
        {"bundle_id": "bdl_us_1", "chosen": False, "why": "banned"},
    ],
    "counts": {"banned": 1},
    "at": _AT,
}
EXAMPLES["Command"] = {
    "command_id": "cmd_93205ca625f4544cb5092e54e4051ad6",
    "kind": "configure_video",
    "status": "held",
    "reason": "observe mode: nothing is sent to TokPortal",
    "bundle_id": "bdl_us_1",
    "video_id": "vid_1001",
    "campaign_id": "cmp_16c1848d5e7252869556b5fa58573e60",
    "country": "US",
    "platform": "tiktok",
    "body": {"external_ref": "vid_1001", "bundle_id": "bdl_us_1", "target_day": "2026-12-02"},
    "idempotency_key": "cmd_93205ca625f4544cb5092e54e4051ad6",
    "price": None,
    "attempts": 0,
    "last_error": None,
    "not_before": _AT,
    "created_at": _AT,
    "message_id": "msg_0c5be6f6a2b14b5a8a3a3f0d1f8f3b1e",
    "position": 4711,
}
EXAMPLES["Policies"] = {
    "version": "2b72fa199d69e3cbfe57ecae9b2a4c1d71e145e8bbb2859a67aadbe85783c12f",
    "text": "version: 1\n",
    "sha256": "2b72fa199d69e3cbfe57ecae9b2a4c1d71e145e8bbb2859a67aadbe85783c12f",
    "since": {"position": 3, "recorded_at": _AT},
    "actor": {"kind": "trigger", "name": "serve"},
    "warnings": [],
    "position": 4711,
}
EXAMPLES["Video"] = {
    "video_id": "vid_1001",
    "campaign_id": None,
    "ref": None,
    "platform": "tiktok",
    "country": "US",
    "group": "default",
    "state": "posted",
    "reason": None,
    "bundle_id": "bdl_us_1",
    "post_url": "https://www.tiktok.com/@acme.us/video/7300000000000000000",
    "posted_at": _AT,
    "flags": [],
    "attempts": [EXAMPLES["Attempt"]],
    "metrics": EXAMPLES["Metrics"],
    "position": 4711,
}


def example_of(schema: Any) -> Any:
    """An example of an answer: that of the schema it refers to, or a page with one such item."""
    name = schema.get("$ref", "").rpartition("/")[2]
    if name:
        return EXAMPLES.get(name)
    items = schema.get("properties", {}).get("items", {}).get("items")
    if items is None:
        return None
    item = example_of(items)
    return {"items": [item], "next": None, "position": item.get("head", item["position"])}
