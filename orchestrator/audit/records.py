"""The lines of an export: items of batches as JSON that people can read, and from which their leaves can be made
again. What bytes a leaf covers is in texts, exactly; `about` shows what they say."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.audit.about import about_event, about_message
from orchestrator.audit.auditor import Item, Omitted
from orchestrator.audit.places import raw
from orchestrator.log.chain import Link, Outcome

FORMAT: Final = 1
Record = dict[str, Any]

MESSAGE: Final = (
    "applied_seq seq message_id kind endpoint mode dialect event_id id_source digest body headers actor received_at"
).split()
EVENT: Final = "position originator_id originator_version topic state".split()
NUMBERS: Final = ("batch", "first_position", "last_position", "first_applied", "last_applied")


def batch_record(link: Link) -> Record:
    return {"type": "batch", **link._asdict(), "tags": link.tags.hex(), "digest": link.digest.hex()}


def link_of(record: Mapping[str, Any]) -> Link:
    """Raises ValueError, KeyError, TypeError for what is no batch."""
    if not all(type(record[name]) is int for name in NUMBERS):
        raise ValueError("the numbers of a batch are no numbers")
    return Link(
        **{name: record[name] for name in NUMBERS},
        kind=str(record["kind"]),
        tags=bytes.fromhex(record["tags"]),
        digest=bytes.fromhex(record["digest"]),
    )


def record_of(kind: str, item: Item) -> Record:
    if kind == "event":
        return {"type": kind, **_texts(zip(EVENT, item, strict=True), "state"), "about": about_event(item)}
    if kind == "message":
        outcome = Outcome(*item[len(MESSAGE) :])
        values = dict(zip(MESSAGE, item[: len(MESSAGE)], strict=True))
        values["message_id"] = "msg_" + raw(values["message_id"]).hex()
        return {
            "type": kind,
            **_texts(values.items(), "body"),
            "outcome": outcome._asdict(),
            "about": about_message(item),
        }
    number, seq, old, new = item
    return {"type": kind, "number": number, "seq": seq, "old": old._asdict(), "new": Outcome(*new)._asdict()}


def omitted_record(kind: str, first: int, leaves: Sequence[bytes]) -> Record:
    return {"type": "omitted", "what": kind, "first": first, "leaves": [leaf.hex() for leaf in leaves]}


def items_of(record: Mapping[str, Any]) -> tuple[str, list[Item]]:
    """The items that a line holds, and of which kind they are. Raises ValueError, KeyError, TypeError."""
    kind = record["type"]
    if kind == "omitted":
        leaves = [bytes.fromhex(leaf) for leaf in record["leaves"]]
        return record["what"], [Omitted(number, leaf) for number, leaf in enumerate(leaves, start=record["first"])]
    if kind == "event":
        return kind, [(*(record[name] for name in EVENT[:-1]), _bytes(record, "state"))]
    if kind == "message":
        values = {**record, "message_id": bytes.fromhex(record["message_id"][4:]), "body": _bytes(record, "body")}
        return kind, [(*(values[name] for name in MESSAGE), *_outcome(record["outcome"]))]
    if kind == "retried":
        return kind, [(record["number"], record["seq"], _outcome(record["old"]), _outcome(record["new"]))]
    raise ValueError(f"lines of the type {kind!r} are unknown")


def tells_the_truth(record: Mapping[str, Any], kind: str, item: Item) -> bool:
    """Whether `about`, which no leaf covers, is what the item says."""
    if kind == "event":
        return bool(record["about"] == about_event(item))
    return kind != "message" or bool(record["about"] == about_message(item))


def _outcome(values: Mapping[str, Any]) -> Outcome:
    return Outcome(**{name: values[name] for name in Outcome._fields})


def _texts(values: Any, name: str) -> Record:
    """With the bytes under `name` as a text, or in base64 where they are none."""
    record = dict(values)
    data = raw(record.pop(name))
    try:
        record[name] = data.decode()
    except UnicodeDecodeError:
        record[f"{name}_base64"] = base64.b64encode(data).decode()
    return record


def _bytes(record: Mapping[str, Any], name: str) -> bytes:
    if name in record:
        return str(record[name]).encode()
    return base64.b64decode(record[f"{name}_base64"], validate=True)
