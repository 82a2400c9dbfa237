"""One request that passed the doors, and its answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
from starlette.datastructures import QueryParams

from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.model import Bundle, SavedAccount, Slot
from orchestrator.sandbox.world import World

T = TypeVar("T")

_PER_PAGE: Final = 25
_MOST_PER_PAGE: Final = 100
_MOST_PAGES: Final = 1_000_000
_POSITION: Final = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Answer:
    """`data`, and what stands beside it: pagination and money. `bare` is a body that is not wrapped in `data`."""

    data: Any = None
    beside: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    bare: bool = False

    def body(self) -> dict[str, Any]:
        return self.data if self.bare else {"data": self.data, **self.beside}


@dataclass(slots=True)
class Call:
    """A request, past authentication, rate limit and idempotency."""

    world: World
    operation: str
    path: dict[str, str]
    query: QueryParams
    body: Any
    key: str | None
    dry: bool
    charged: int = 0

    def read(self, form: type[T]) -> T:
        """The body as `form`.

        Raises:
            Refusal: VALIDATION_ERROR; the message names the member.
        """
        try:
            return msgspec.convert(self.body, form)
        except msgspec.ValidationError as error:
            raise invalid(str(error)) from None

    def bundle(self) -> Bundle:
        """The bundle that the path names."""
        bundle = self.world.bundle(self.path["id"])
        if bundle is None:
            raise Refusal(404, "BUNDLE_NOT_FOUND", f"There is no bundle {self.path['id']}.")
        return bundle

    def slot(self, bundle: Bundle) -> Slot:
        """The slot that the path names."""
        if not _POSITION.fullmatch(self.path["position"]):
            raise invalid("position must be a whole number from 1 on", field="position")
        return find_slot(self.world, bundle, int(self.path["position"]))

    def account(self) -> SavedAccount:
        """The saved account that the path names."""
        return find_account(self.world, self.path["id"])

    def choice(self, name: str, choices: Sequence[str] | None = None) -> str | None:
        """A query parameter; empty is none."""
        value = self.query.get(name) or None
        if value is not None and choices is not None and value not in choices:
            raise invalid(f"{name} must be one of {', '.join(choices)}, not {value!r}", field=name)
        return value

    def flag(self, name: str) -> bool | None:
        value = self.choice(name, ("true", "false"))
        return None if value is None else value == "true"

    def page(self, rows: Sequence[T], view: Callable[[T], Any]) -> Answer:
        """The page of `rows` that was asked for: `page` from 1, `per_page` 25 unless given, at most 100."""
        page = self._number("page", 1, _MOST_PAGES)
        per_page = self._number("per_page", _PER_PAGE, _MOST_PER_PAGE)
        first = (page - 1) * per_page
        pagination = {
            "page": page,
            "per_page": per_page,
            "total": len(rows),
            "total_pages": -(-len(rows) // per_page),
        }
        return Answer([view(row) for row in rows[first : first + per_page]], {"pagination": pagination})

    def _number(self, name: str, default: int, most: int) -> int:
        text = self.query.get(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit()) or len(text) > 9 or not 1 <= int(text) <= most:
            raise invalid(f"{name} must be a whole number from 1 to {most}, not {text!r}", field=name)
        return int(text)

    def charge(self, amount: int, *, bundle_id: str | None = None, saved_account_id: str | None = None) -> None:
        """Take credits for this operation.

        Raises:
            Refusal: INSUFFICIENT_CREDITS; see `afford`.
        """
        self.afford(amount, {self.operation: amount})
        self.world.charge(amount, self.operation, bundle_id=bundle_id, saved_account_id=saved_account_id)
        self.charged += amount

    def afford(self, amount: int, breakdown: dict[str, int]) -> None:
        """Raises Refusal INSUFFICIENT_CREDITS when the purse does not hold that much."""
        available = self.world.credits
        if amount > available:
            raise Refusal(
                402,
                "INSUFFICIENT_CREDITS",
                f"This costs {amount} credits, and {available} are there.",
                required=amount,
                available=available,
                missing=amount - available,
                breakdown=breakdown,
            )

    def money(self, **more: Any) -> dict[str, Any]:
        """What a paid operation says beside `data`; a dry run says what it would charge."""
        if self.dry:
            remaining = self.world.credits + self.charged
            return {"credits_charged": 0, "credits_would_charge": self.charged, "credits_remaining": remaining, **more}
        return {"credits_charged": self.charged, "credits_remaining": self.world.credits, **more}

    def took_effect(self, **what: Any) -> None:
        """Note that this call changed the world; see `World.effect`."""
        number = self.world.counters["requests"]
        self.world.effect(self.operation, number, idempotency_key=self.key, **what)


def invalid(message: str, **details: Any) -> Refusal:
    """Input that is wrong in itself; TokPortal's documentation shows no code for it that could be read."""
    return Refusal(400, "VALIDATION_ERROR", message, **details)


def find_slot(world: World, bundle: Bundle, position: int) -> Slot:
    slot = world.slot(bundle, position)
    if slot is None:
        raise Refusal(
            404, "VIDEO_NOT_FOUND", f"Bundle {bundle.id} has no video at position {position}.", position=position
        )
    return slot


def find_account(world: World, saved_account_id: str) -> SavedAccount:
    account = world.saved_account(saved_account_id)
    if account is None:
        raise Refusal(404, "SAVED_ACCOUNT_NOT_FOUND", f"There is no account {saved_account_id}.")
    return account
