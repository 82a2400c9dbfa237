"""The slots of a bundle as TokPortal lists them, and what they say of a video of ours.

Field names are TokPortal's where it documents them. Of the states of a slot it documents `pending → configured →
published → accepted → in_review → finalized`; that one can be cancelled, or be `pending_corrections`, follows from its
rules and events. A state that nobody knows is never taken for free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.domain.times import iso
from orchestrator.tokportal.client import Client
from orchestrator.tokportal.reads import Kind, Page, Row, text_of

PENDING: Final = "pending"
LET_GO: Final = frozenset({PENDING, "cancelled", "canceled"})
"""States in which nobody posts what a slot holds."""
POSTED: Final = frozenset({"finalized"})
HANDED: Final = frozenset({"configured", "published", "accepted", "in_review", "finalized"})
"""States that a slot is in once TokPortal took a video for it, and nothing is wrong with that."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One row. `position` counts from 1; `status` is in lower case, empty where the row has none."""

    position: int
    status: str
    video_id: str | None
    external_ref: str | None
    url: str | None
    posted_at: str | None
    target_day: str | None
    name: str | None = None

    @property
    def is_free(self) -> bool:
        """Whether a video may be put there."""
        return self.status == PENDING

    @property
    def is_posted(self) -> bool:
        return self.url is not None or self.status in POSTED

    @classmethod
    def of(cls, row: Row) -> Slot | None:
        """None for a row that names no position, and so is no slot."""
        position = row.get("position")
        if type(position) is not int or position < 1:
            return None
        return cls(
            position,
            (text_of(row, "status") or "").lower(),
            text_of(row, "video_id", "id"),
            text_of(row, "external_ref"),
            text_of(row, "platform_url"),
            text_of(row, "posted_at", "published_at"),
            text_of(row, "target_publish_date", "target_publish_start_date"),
            text_of(row, "name"),
        )


@dataclass(frozen=True, slots=True)
class Slots:
    """All slots of a bundle, by position, as of `page.asked_at`."""

    bundle_id: str
    rows: tuple[Slot, ...]
    page: Page

    @classmethod
    def read(cls, client: Client, kind: Kind, bundle_id: str) -> Slots:
        """Raises `TryAgain`, `Refused`."""
        page = client.slots(kind, bundle_id)
        found = sorted(filter(None, map(Slot.of, page.rows)), key=lambda slot: slot.position)
        return cls(bundle_id, tuple(found), page)

    def tell_whose(self, vendor_id: str | None) -> bool:
        """Whether every slot that may hold a video says which: by our name for it, or, where TokPortal's own name of
        the one in question is known, by that. Without, nothing can be concluded from a video's not being there."""
        return bool(self.rows) and all(
            slot.status in LET_GO or slot.external_ref or (vendor_id is not None and slot.video_id is not None)
            for slot in self.rows
        )

    def carrying(self, external_ref: str | None, vendor_id: str | None = None) -> Slot | None:
        """The slot that carries a video of ours: the furthest one, should there be several. By TokPortal's own id of
        the video only where the slot does not say that it carries another one."""
        ours = [slot for slot in self.rows if external_ref is not None and slot.external_ref == external_ref]
        if not ours and vendor_id is not None:
            mine = (None, external_ref)
            ours = [slot for slot in self.rows if slot.video_id == vendor_id and slot.external_ref in mine]
        return max(ours, key=lambda slot: (slot.is_posted, slot.status not in LET_GO, -slot.position), default=None)

    def at(self, position: int) -> Slot | None:
        return next((slot for slot in self.rows if slot.position == position), None)

    def free(self, taken: Iterable[int] = ()) -> Slot | None:
        """The first slot that a video may be put into."""
        others = set(taken)
        return next((slot for slot in self.rows if slot.is_free and slot.position not in others), None)

    def counts(self, used: Sequence[int] = ()) -> dict[str, Any]:
        """`used`: positions that have been filled since."""
        free = [slot for slot in self.rows if slot.is_free and slot.position not in used]
        total = [slot for slot in self.rows if slot.status not in LET_GO - {PENDING}]
        return {"bundle_id": self.bundle_id, "total": len(total), "free": len(free)}

    @property
    def asked_at(self) -> str:
        return iso(self.page.asked_at)
