"""A verifier whose secrets may change while the service runs: `webhooks register` stores a new one, `delete` takes one
away, and both count at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from orchestrator.secrets import Secret
from orchestrator.webhooks.signature import Signed, Verifier

logger = logging.getLogger(__name__)

GLANCE: Final = 1.0
"""Seconds between two looks at whether the secrets have changed, while signatures are good."""


class RenewingVerifier:
    """Stands where a `Verifier` stands.

    Args:
        read: all secrets, as they are now. What it raises (OSError, ValueError) leaves those in force that were read
            before.
        version: anything that changes whenever `read` would say something else. It is asked for once a second, and for
            every signature that is not good, so it must cost next to nothing.
    """

    __slots__ = ("_known", "_looked", "_monotonic", "_read", "_verifier", "_version")

    def __init__(
        self,
        read: Callable[[], Sequence[Secret]],
        version: Callable[[], object],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises what `read` raises."""
        self._read = read
        self._version = version
        self._monotonic = monotonic
        self._known = version()  # Before the secrets: what comes in between is read once more.
        self._verifier = _verifier(read())
        self._looked = monotonic()

    def verify(self, headers: Iterable[tuple[bytes, bytes]], body: bytes, now: float) -> Signed | None:
        """See `Verifier.verify`. Never raises."""
        headers = list(headers)
        if self._monotonic() - self._looked >= GLANCE:
            self._renew()
        signed = self._verifier.verify(headers, body, now)
        if signed is None and self._renew():
            signed = self._verifier.verify(headers, body, now)
        return signed

    def _renew(self) -> bool:
        """Whether there are other secrets than before."""
        self._looked = self._monotonic()
        try:
            version = self._version()
            if version == self._known:
                return False
            self._verifier = _verifier(self._read())
        except (OSError, ValueError) as error:
            logger.error("the webhook secrets could not be read again; those from before stay: %s", error)
            return False
        self._known = version
        logger.info("the webhook secrets were read again")
        return True


def _verifier(secrets: Sequence[Secret]) -> Verifier:
    return Verifier([secret.reveal() for secret in secrets])
