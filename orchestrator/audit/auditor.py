"""Holds batches against the chain, one after the other, and checkpoints against both. It does not care where they come
from: the database, or an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from orchestrator.audit.checkpoints import Checkpoint
from orchestrator.audit.findings import Finding, Report
from orchestrator.audit.keys import PublicKey
from orchestrator.audit.places import RENUMBERED, places
from orchestrator.log.chain import BACKLOG, BATCH, ORIGIN, TAG, Link, batch_digest, leaf, leaves, tags_of

KINDS: Final = ("message", "retried", "event")
"""The sections of a batch, in the order of their leaves."""


class Omitted(NamedTuple):
    """An item of which an export has the leaf only."""

    number: int
    leaf: bytes


Item = Sequence[Any]
Sections = Mapping[str, Sequence[Item]]
"""By kind, the items in their order, the number of each first."""


def leaf_of(kind: str, item: Item) -> bytes:
    return item.leaf if type(item) is Omitted else leaf(kind, item)


def _leaves(kind: str, items: Sequence[Item]) -> list[bytes]:
    return [leaf_of(kind, item) for item in items]


class Auditor:
    def __init__(self, report: Report, keys: Sequence[PublicKey], *, may_omit: bool = False) -> None:
        """`may_omit`: items may be of the class `Omitted`."""
        self.report = report
        self._leaves = _leaves if may_omit else leaves
        self._keys = {key.key_id: key for key in keys}
        self._last: Link | None = None
        self._previous: bytes | None = None
        self._proved: tuple[Checkpoint, bool] | None = None
        self._is_moved = False

    def begin(self, batch: int, previous: bytes | None) -> None:
        """Before a first batch that is not the first of the log: the number and the digest of the one before it."""
        if batch and previous is not None:
            self._last = Link(batch, BATCH, 0, -1, 0, -1, b"", previous)
            self._previous = previous

    def batch(self, link: Link, sections: Sections) -> None:
        report, previous = self.report, self._follow(link)
        found = [one for kind in KINDS for one in self._leaves(kind, sections[kind])]
        tags = tags_of(found)
        digest = batch_digest(link, previous, found) if previous is not None else None
        if tags != link.tags or not _is_whole(link, sections):
            if digest == link.digest and _is_whole(link, sections):
                report.add(Finding("changed", "batch", f"the tags of batch {link.batch} were changed", link.batch))
            else:
                self._tell(places(link, sections, leaf_of))
            digest = None
        elif digest is not None and digest != link.digest:
            text = f"batch {link.batch} does not have the digest that follows from what it covers"
            report.add(Finding("chain", "batch", text, link.batch, link.first_position))
        # One change is told once: the batches after it are held against what the chain itself says.
        self._previous = digest if digest is not None else link.digest
        self._last = link
        report.batches += 1
        report.messages += len(sections["message"])
        report.events += len(sections["event"])
        report.position, report.digest = link.last_position, link.digest.hex()

    def _tell(self, found: Sequence[Finding]) -> None:
        if self._is_moved:
            return
        for finding in found:
            self.report.add(finding)
            self._is_moved |= RENUMBERED in finding.text

    def _follow(self, link: Link) -> bytes | None:
        """The digest that the batch was built on; None where it is not known."""
        last, report = self._last, self.report
        if last is None:
            report.first_position = link.first_position
        if last is None and link.batch == 1:
            is_next, previous = (link.first_position, link.first_applied) == (1, 1), ORIGIN
        elif last is not None and link.batch == last.batch + 1:
            is_next = last.last_position == -1 or (
                (link.first_position, link.first_applied) == (last.last_position + 1, last.last_applied + 1)
            )
            previous = self._previous if self._previous is not None else last.digest
        else:
            first = last.batch + 1 if last is not None else 1
            names = f"batch {first} is" if first == link.batch - 1 else f"batches {first} to {link.batch - 1} are"
            since = last.last_position + 1 if last is not None else 1
            text = f"{names} missing in the chain: nothing covers positions {since} to {link.first_position - 1}"
            report.add(Finding("removed", "batch", text, first, since))
            return None
        if not is_next:
            text = f"batch {link.batch} does not begin where the one before it ends"
            report.add(Finding("chain", "batch", text, link.batch, link.first_position))
        if link.kind == BACKLOG and last is not None and last.kind == BATCH and last.last_position != -1:
            text = f"batch {link.batch} was chained after the fact: it was not written by the engine"
            report.add(Finding("inserted", "batch", text, link.batch, link.first_position))
        elif link.kind not in (BATCH, BACKLOG):
            report.add(Finding("changed", "batch", f"batch {link.batch} is of no known kind", link.batch))
        return previous

    @property
    def last(self) -> Link | None:
        """The last batch that was looked at."""
        return self._last

    def checkpoint(self, checkpoint: Checkpoint, where: str, link: Link | None) -> None:
        """`link`: the batch that it is about, which was looked at; None if there is none. `where` it was found."""
        report, name = self.report, f"the checkpoint of batch {checkpoint.batch} {where}"
        report.checkpoints += 1

        def tell(kind: str, text: str) -> None:
            report.add(Finding(kind, "checkpoint", text, checkpoint.batch, checkpoint.position))

        if not self._is_proved(checkpoint):
            known = checkpoint.key_id in self._keys
            why = "has a bad signature" if known else f"is signed with the key {checkpoint.key_id}, which nobody knows"
            tell("signature", f"{name} {why}")
        elif link is None:
            tell("cut", f"{name} is signed, and the log has no such batch: what it covered up to position "
                        f"{checkpoint.position} was removed")  # fmt: skip
        elif (checkpoint.digest, checkpoint.position, checkpoint.applied) != (
            link.digest,
            link.last_position,
            link.last_applied,
        ):
            since = report.signed_position
            tell(
                "chain",
                f"{name} is signed for another log: between the positions {since + 1} and {checkpoint.position} the "
                "log was changed, and the chain written anew",
            )
        else:
            report.signed_position = max(report.signed_position, checkpoint.position)

    def _is_proved(self, checkpoint: Checkpoint) -> bool:
        # The same one stands in the database and outside.
        if self._proved is None or self._proved[0] != checkpoint:
            self._proved = checkpoint, checkpoint.is_proved_by(self._keys)
        return self._proved[1]


def _is_whole(link: Link, sections: Sections) -> bool:
    """Whether the batch has an item for each number that it covers, and no other."""
    messages, events = sections["message"], sections["event"]
    return (
        len(link.tags) == TAG * sum(map(len, sections.values()))
        and _runs(messages, link.first_applied, link.last_applied)
        and _runs(events, link.first_position, link.last_position)
    )


def _runs(items: Sequence[Item], first: int, last: int) -> bool:
    """The items are ordered by their numbers, and no number is there twice."""
    if len(items) != last - first + 1:
        return False
    return not items or (items[0][0], items[-1][0]) == (first, last)
