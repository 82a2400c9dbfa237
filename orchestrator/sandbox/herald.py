"""Turns what happens in a world into webhooks for those who asked for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from orchestrator.clock import instant_of
from orchestrator.sandbox import dialects
from orchestrator.sandbox.dialects import Message, News, Subject
from orchestrator.sandbox.faults import WebhookFaults
from orchestrator.sandbox.habits import Sending
from orchestrator.sandbox.model import (
    Ban,
    Bundle,
    Coverage,
    Delivery,
    Endpoint,
    SavedAccount,
    Slot,
    WarmingSession,
)
from orchestrator.sandbox.world import World
from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.wire import iso

Data = Mapping[str, Any]

_NAMES: Final = frozenset(
    {"bundle_id", "account_id", "saved_account_id", "video_id", "position", "ban_id", "session_id"}
)
"""Members of an event that name rows; the rest are details of it."""


class Herald:
    """Listens to the world, and queues a delivery for each endpoint that listens to what happened.

    Events of the vendor's catalogue come by `World.emit`; what only the article dialect reports, by `report`.
    """

    def __init__(
        self,
        world: World,
        post: Callable[[Delivery], None],
        habits: Callable[[], Sending],
        faults: Callable[[], WebhookFaults],
    ) -> None:
        """
        Args:
            post: queues a delivery that is in the world already.
            habits, faults: asked anew each time.
        """
        self._world = world
        self._post = post
        self._habits = habits
        self._faults = faults
        self._codes = {alias: code for code, alias in world.parameters.country_aliases.items()}
        world.listen(self._hear)

    def report(
        self,
        news: News,
        bundle: Bundle,
        slot: Slot | None = None,
        *,
        article: Data | None = None,
        public: Data | None = None,
        only: Dialect | None = None,
    ) -> None:
        """Tell everybody, or those `only` who speak one dialect; `article` and `public` replace members of the data."""
        if bundle.adopted:
            return
        data = {Dialect.ARTICLE: article or {}, Dialect.PUBLIC: public or {}}
        subject = self.subject(bundle, slot)

        def word(dialect: Dialect, id: str, at: datetime) -> Message | None:
            return self._word(dialect, news, id, at, subject, data[dialect]) if only in (None, dialect) else None

        self._spread(word)

    def _word(
        self, dialect: Dialect, news: News, id: str, at: datetime, subject: Subject, data: Data
    ) -> Message | None:
        wording = self._habits().wording
        return dialects.word(dialect, news, event_id=id, at=at, subject=subject, data=data, wording=wording)

    def request(
        self,
        type: str,
        subject: Subject,
        data: Data,
        *,
        dialect: Dialect | None = None,
        endpoint_id: str | None = None,
        event_id: str | None = None,
        at: datetime | None = None,
    ) -> list[Delivery]:
        """Send an event that somebody asked for, whether it happened or not, and whoever subscribed to it.

        Raises `UnknownEventError` when none of the dialects in question has it.
        """
        endpoints = [
            endpoint
            for endpoint in self._world.all(Endpoint)
            if endpoint_id in (None, endpoint.id) and dialect in (None, Dialect(endpoint.dialect))
        ]
        tongues = {dialect} if dialect is not None else {Dialect(endpoint.dialect) for endpoint in endpoints}
        id, at = event_id or self._event_id(), at or instant_of(self._world.now())
        messages: dict[Dialect, Message] = {}
        for tongue in tongues or set(Dialect):
            if type in dialects.types(tongue):
                messages[tongue] = dialects.build(
                    tongue, type, event_id=id, at=at, subject=subject, data=data, wording=self._habits().wording
                )
        if not messages:
            raise dialects.UnknownEventError(f"no dialect that is spoken to here has an event {type!r}")
        return [
            self._deliver(endpoint, messages[Dialect(endpoint.dialect)])
            for endpoint in endpoints
            if Dialect(endpoint.dialect) in messages
        ]

    def subject(self, bundle: Bundle, slot: Slot | None = None) -> Subject:
        """What a webhook says of these two, as they are now."""
        world = self._world
        listing = world.listing_of(bundle)
        account = world.saved_account_of(bundle)
        return Subject(
            bundle_id=bundle.id,
            platform=bundle.platform,
            country=self._codes.get(bundle.country, bundle.country),
            bundle_type=bundle.bundle_type,
            bundle_status=bundle.status,
            bundle_ref=bundle.external_ref,
            account_id=bundle.account_id,
            saved_account_id=bundle.saved_account_id,
            username=account.username if account is not None else listing.username if listing is not None else None,
            video_id=slot.id if slot is not None else None,
            position=slot.position if slot is not None else None,
            external_ref=slot.external_ref if slot is not None else None,
            platform_url=slot.platform_url if slot is not None else None,
        )

    # The vendor's catalogue

    def _hear(self, type: str, data: dict[str, Any]) -> None:
        bundle = self._bundle_of(data)
        if bundle is None:
            return
        slot = self._world.slot(bundle, data["position"]) if data.get("position") is not None else None
        details = self._known(data) | {name: value for name, value in data.items() if name not in _NAMES}
        news = _NEWS.get(type)
        # A post that is shown again after corrections is no second post.
        is_repeated = news is News.POSTED and details.get("previous_status") == "pending_corrections"
        if news is not None and not is_repeated:
            article = {"reason": details["reason"]} if news is News.BANNED and details.get("reason") else {}
            self.report(news, bundle, slot, article=article, public=details)
        elif type in dialects.types(Dialect.PUBLIC):
            self._spread(partial(self._word_public, type, self.subject(bundle, slot), details))

    def _word_public(
        self, type: str, subject: Subject, data: Data, dialect: Dialect, id: str, at: datetime
    ) -> Message | None:
        if dialect is not Dialect.PUBLIC:
            return None
        wording = self._habits().wording
        return dialects.build(dialect, type, event_id=id, at=at, subject=subject, data=data, wording=wording)

    def _bundle_of(self, data: Data) -> Bundle | None:
        world = self._world
        if data.get("bundle_id") is not None:
            return world.find(Bundle, data["bundle_id"])
        account = world.find(SavedAccount, data.get("saved_account_id"))
        return world.find(Bundle, account.bundle_id) if account is not None else None

    def _known(self, data: Data) -> dict[str, Any]:
        """Details of the rows that an event names."""
        world = self._world
        known: dict[str, Any] = {}
        ban = world.find(Ban, data.get("ban_id"))
        if ban is not None:
            known = {"reason": ban.reason, "appeal_status": ban.status}
        session = world.find(WarmingSession, data.get("session_id"))
        if session is not None:
            known = {
                "session_id": session.id,
                "terms_total": session.targets,
                "terms_verified": sum(term.verified_at is not None for term in session.terms),
            }
        coverage = world.find(Coverage, data.get("saved_account_id")) if data.get("bundle_id") is None else None
        if coverage is not None:
            known = {
                "saved_account_id": coverage.id,
                "current_period_end": iso(instant_of(coverage.current_period_end)),
            }
        return known

    # Deliveries

    def _spread(self, word: Callable[[Dialect, str, datetime], Message | None]) -> None:
        """Queue what each endpoint wants to hear of one event; its id is the same for all of them."""
        id, at = self._event_id(), instant_of(self._world.now())
        if self._world.random("forgotten", id).random() < self._faults().forgotten:
            return
        messages: dict[Dialect, Message | None] = {}
        for endpoint in self._world.all(Endpoint):
            dialect = Dialect(endpoint.dialect)
            if dialect not in messages:
                messages[dialect] = word(dialect, id, at)
            message = messages[dialect]
            if message is not None and endpoint.enabled and message.type in (endpoint.events or [message.type]):
                self._deliver(endpoint, message)

    def _event_id(self) -> str:
        return dialects.event_id(self._world.new_id("event"))

    def _deliver(self, endpoint: Endpoint, message: Message) -> Delivery:
        delivery = Delivery(
            id=self._world.new_id("delivery"),
            endpoint_id=endpoint.id,
            event_id=message.event_id,
            event_type=message.type,
            body=message.body.decode(),
            created_at=self._world.now(),
        )
        self._world.put(delivery)
        self._post(delivery)
        return delivery


_NEWS: Final[dict[str, News]] = {type: news for news, type in dialects.TYPES[Dialect.PUBLIC].items()}
