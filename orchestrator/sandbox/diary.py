"""What the life of a world keeps beside the rows that the REST side knows."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from orchestrator.sandbox.faults import FaultSettings
from orchestrator.sandbox.habits import Habits
from orchestrator.sandbox.model import Row
from orchestrator.sandbox.parameters import Parameters

MANNER: Final = "manner"
"""The id of the world's only `Manner`."""


class Work(Row, kw_only=True):
    """What a manager does about one slot; `id` is the slot's. Stale once the slot's revision is another one."""

    kind = "work"

    revision: int
    stage: Literal["offered", "accepted", "uploading", "uploaded", "given_up", "missed", "posted"] = "offered"
    attempt: int = 0
    """Tries to post so far, the current one included."""
    due_id: str | None = None
    """The action that goes on with it."""


class Post(Row, kw_only=True):
    """The truth about one post: it is on the platform, whatever anybody was told."""

    kind = "post"

    at: int
    bundle_id: str
    video_id: str
    position: int
    external_ref: str | None
    saved_account_id: str | None
    username: str | None
    platform: str
    country: str
    """In the vendor's code."""
    url: str
    description: str | None = None
    media: str | None = None


class Manner(Row, kw_only=True):
    """How this world behaves and what goes wrong in it, as it was last set; there is one, with id `manner`."""

    kind = "manner"

    parameters: Parameters = msgspec.field(default_factory=Parameters)
    habits: Habits = msgspec.field(default_factory=Habits)
    faults: FaultSettings = msgspec.field(default_factory=FaultSettings)
    clock: str | None = None
    """EPOCH@SPEED; None: the real clock."""
    began: str | None = None
    """The real time at which that clock was started, in ISO 8601."""
    is_founded: bool = False
    """Whether the accounts of the world's file were made."""


LIFE_KINDS: tuple[type[Row], ...] = (Work, Post, Manner)
