"""What a world file says: how this TokPortal behaves, what goes wrong in it, and which accounts there are."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.sandbox.faults import FaultSettings
from orchestrator.sandbox.founding import Founding
from orchestrator.sandbox.habits import Habits, Managing, Sending
from orchestrator.sandbox.parameters import Parameters


class WorldFileError(ValueError):
    """A world file cannot be used; the text says where, and what would be right."""


class WorldFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every member may be left out."""

    seed: int | None = None
    parameters: Parameters = Parameters()
    """The REST side: limits, prices, and what the vendor has not documented."""
    managers: Managing = msgspec.field(default_factory=Managing)
    webhooks: Sending = msgspec.field(default_factory=Sending)
    faults: FaultSettings = msgspec.field(default_factory=FaultSettings)
    accounts: tuple[Founding, ...] = ()

    @property
    def habits(self) -> Habits:
        return Habits(managers=self.managers, webhooks=self.webhooks)


def read(document: Any) -> WorldFile:
    """The world that a document describes: plain values, as a YAML or JSON file holds them.

    Raises `WorldFileError`.
    """
    try:
        world = msgspec.convert(document if document is not None else {}, WorldFile)
        for founding in world.accounts:
            founding.check(world.parameters)
    except ValueError as error:  # msgspec's own are of this kind, too
        raise WorldFileError(str(error).replace("`$.", "`")) from None
    return world
