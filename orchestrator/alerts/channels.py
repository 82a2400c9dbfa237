"""Channels: from the name in the policies to somebody who hears. Their URLs are secrets, and are never shown."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol
from urllib.parse import unquote

from orchestrator.alerts.messages import Text, plain
from orchestrator.alerts.ssrf import RefusedError, check_host, guarded
from orchestrator.mask import Mask
from orchestrator.secrets import Secret

logger = logging.getLogger(__name__)

REFERENCE: Final = "env:"
DEADLINE: Final = 20.0
"""Seconds that sending one message may take altogether."""
LOUD: Final = {"apprise": logging.WARNING, "urllib3": logging.CRITICAL}
"""Loggers of what sends, and from which level on they say anything: their lines may hold URLs, and so secrets."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,40}(?=://)")


class NotSentError(Exception):
    """A message was not sent; why, without secrets."""


class Channel(Protocol):
    """A way to people."""

    @property
    def shown(self) -> str:
        """Its URL as everybody may see it."""
        ...

    def send(self, text: Text) -> None:
        """Raises `NotSentError`."""
        ...


class Channels:
    """Opens channels by name. `variable` gives the value of an environment variable.

    `allow_private`: messages may go to this machine and to private networks, as they do in a sandbox world.
    """

    def __init__(self, variable: Callable[[str], Secret | None], *, allow_private: bool) -> None:
        self._variable = variable
        self._allow_private = allow_private
        self._unset: set[str] = set()
        self._opened: dict[str, tuple[Secret, Channel]] = {}

    def url(self, reference: str | None) -> Secret | None:
        """The URL that `reference` is, or that the variable has which it names."""
        if reference is not None and reference.startswith(REFERENCE):
            return self._variable(reference.removeprefix(REFERENCE))
        return Secret(reference) if reference is not None else None

    def open(self, name: str, reference: str | None) -> Channel | None:
        """The channel at this URL. None where there is none: that is warned of once, and what it should tell stands in
        the log."""
        url = self.url(reference)
        if url is None:
            self._warn(name, reference)
            return None
        known = self._opened.get(name)
        if known is None or known[0] != url:
            known = self._opened[name] = (url, AppriseChannel(url, allow_private=self._allow_private))
        return known[1]

    def _warn(self, name: str, reference: str | None) -> None:
        if name in self._unset:
            return
        self._unset.add(name)
        why = f"{reference.removeprefix(REFERENCE)} is not set" if reference else "the policies do not define it"
        logger.warning("the alert channel %s is not heard: %s; alerts are only written to the log", name, why)


class AppriseChannel:
    """A channel at one of the services that Apprise knows, of those that speak HTTPS or are mail.

    Every connection is judged by `orchestrator.alerts.ssrf`; redirects are not followed.
    """

    def __init__(self, url: Secret, *, allow_private: bool) -> None:
        self._url = url
        self._allow_private = allow_private
        self._mask = Mask(_parts(url.reveal()))

    @property
    def shown(self) -> str:
        scheme = _SCHEME.match(self._url.reveal().lower())
        return f"{scheme[0]}://***" if scheme is not None else "***"

    def send(self, text: Text) -> None:
        silence()
        from apprise import Apprise, NotifyFormat, NotifyType

        service = self._service()
        sender = Apprise(asset=service.asset)
        sender.add(service)
        kind = NotifyType.SUCCESS if text.is_good else NotifyType.WARNING
        try:
            # The guard reaches the threads of the library, which are started with a copy of this context.
            with guarded(allow_private=self._allow_private) as guard:
                result = sender.notify(
                    body=text.body, title=text.title, notify_type=kind, body_format=NotifyFormat.TEXT, timeout=DEADLINE
                )
        except Exception as error:
            # What the text of a foreign error holds is not known: its kind has to do.
            raise NotSentError(f"{self.shown}: {type(error).__name__}") from None
        if guard.refusals:
            raise NotSentError(f"{self.shown}: {guard.refusals[0]}")
        if not result:
            raise NotSentError(f"{self.shown}: {self._reason(result)}")

    def _service(self) -> Any:
        """The library's own object. Raises `NotSentError` where the URL cannot, or must not, be used."""
        from apprise import Apprise, AppriseAsset

        asset = AppriseAsset(
            app_id="Orchestrator",
            app_desc="Campaign orchestrator",
            async_mode=False,
            http_redirects=False,
            pgp_autogen=False,
            pem_autogen=False,
            allow_templates=False,
        )
        service = Apprise.instantiate(self._url.reveal(), asset=asset, suppress_exceptions=True)
        if service is None:
            raise NotSentError(f"{self.shown}: this is no URL that Apprise can use here")
        service.redirects = False  # The URL itself could have asked for them.
        if not _speaks_http_or_mail(service):
            raise NotSentError(f"{self.shown}: this service is not supported: use one that speaks HTTPS, or mail")
        host = getattr(service, "host", None)
        if host and "host" in service.template_tokens:
            try:
                check_host(str(host))
            except RefusedError as error:
                raise NotSentError(f"{self.shown}: {error}") from None
            if not service.secure and not self._allow_private:
                raise NotSentError(f"{self.shown}: it is not encrypted: take the scheme with an s, as in jsons://")
        return service

    def _reason(self, result: Any) -> str:
        """What the library said of a failure, without what may be secret."""
        if result.status.name == "TIMEOUT":
            return "no answer in time"
        for entry in result.logs():
            words = re.sub(r"\S*://\S*", "***", self._mask(str(entry.message)))
            if words.strip():
                return plain(words, 200)
        return "it was not taken"


@cache
def silence() -> None:
    """Keeps what the sending libraries log to themselves: its reasons are taken from what they return."""
    for name, level in LOUD.items():
        loud = logging.getLogger(name)
        loud.setLevel(level)
        loud.propagate = False
        loud.addHandler(logging.NullHandler())


def _speaks_http_or_mail(service: Any) -> bool:
    """What has a protocol of its own, or speaks to this machine only, makes connections that nobody judges."""
    for kind in type(service).__mro__:
        module = kind.__module__
        is_service = module.startswith("apprise.plugins.") and module != "apprise.plugins.base"
        if is_service and (module.startswith("apprise.plugins.email.") or hasattr(sys.modules[module], "requests")):
            return True
    return False


def _parts(url: str) -> list[Secret]:
    """The URL, and everything in it that may be secret by itself."""
    spellings = {url, unquote(url)}
    found = {part for spelling in spellings for part in re.split(r"[/:@?&=,]+", spelling.partition("://")[2])}
    return [Secret(part, "***") for part in sorted(spellings | found) if len(part) >= 4]
