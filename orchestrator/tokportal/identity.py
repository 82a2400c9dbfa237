"""Whose account at TokPortal this is. A database belongs to one: with another one's key nothing of it would be true."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestrator.commands.executor import TryAgain
from orchestrator.database import Database
from orchestrator.tokportal.client import Client, Refused
from orchestrator.world import OtherWorldError, remembered

logger = logging.getLogger(__name__)

ASK_AGAIN: Final = 5.0
"""Seconds after which a question that TokPortal did not answer is put again."""
NAMES: Final = ("workspace_id", "organization_id", "user_id", "account_id", "id", "email")
"""Where an identity may stand in the answer of `GET /me`, the widest first; TokPortal documents none of them."""


class Identity:
    """Asks once, and remembers the answer in the database."""

    def __init__(self, client: Client, database: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._database = database
        self._monotonic = monotonic
        self._asking = threading.Lock()
        self._is_settled = False
        self._ask_at = 0.0

    def is_ours(self) -> bool:
        """Whether TokPortal's account is known to be the one that the database belongs to, or nobody can tell. False
        until TokPortal has answered.

        Raises:
            OtherWorldError: it is another one.
        """
        with self._asking:
            if not self._is_settled and self._monotonic() >= self._ask_at:
                try:
                    self._is_settled = self._ask()
                except TryAgain as error:
                    logger.warning("%s", error)
                    self._ask_at = self._monotonic() + ASK_AGAIN
            return self._is_settled

    def _ask(self) -> bool:
        try:
            answer, _ = self._client.me("ordinary")
        except Refused as error:
            logger.warning("TokPortal does not say whose account this is: %s", error)
            return True
        identity = identify(answer.data)
        if identity is not None and remembered(self._database, "account", identity) != identity:
            raise OtherWorldError(
                "the database belongs to another account at TokPortal than TOKPORTAL_API_KEY opens: use that one's "
                "key, or another ORCHESTRATOR_DATABASE_URL"
            )
        return True


def identify(data: Mapping[str, Any]) -> str | None:
    """What tells this account from others, as a digest; None where the answer holds nothing of the kind."""
    holders = [holder for holder in (data, data.get("workspace"), data.get("user")) if isinstance(holder, Mapping)]
    for holder in holders:
        for name in NAMES:
            value = holder.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                return hashlib.sha256(f"{name}\0{value}".encode()).hexdigest()[:32]
    return None
