"""Webhook endpoints at TokPortal: registered, listed, tried and deleted by people.

TokPortal shows the signing secret of an endpoint once, when it is made, and takes no idempotency key for that. So what
exists is listed first, and again where the answer was lost: an endpoint whose secret nobody has seen is of no use to
anybody, and is replaced. There is no call that rotates a secret: a second endpoint is made, the secrets of both are
accepted for a while, and the first is deleted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from orchestrator.commands.executor import TryAgain
from orchestrator.mask import hide_credentials
from orchestrator.secrets import Secret, forget_webhook_secret, store_webhook_secret, stored_webhook_secret
from orchestrator.tokportal.client import Client, Refused
from orchestrator.tokportal.reads import Row, text_of
from orchestrator.tokportal.transport import AnswerLost

DESCRIPTION: Final = "campaign orchestrator"
SINGLE: Final = "/webhooks/tokportal"


class RegistrationError(Exception):
    """One sentence: what could not be done, and what would help."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One that TokPortal knows. `secret`: None where its secret is not stored here."""

    endpoint_id: str
    url: str
    enabled: bool
    events: tuple[str, ...]
    created_at: str | None
    secret: Secret | None

    def told(self) -> Row:
        """For people and programs: the secret by its fingerprint only."""
        return {
            "id": self.endpoint_id,
            "url": self.url,
            "enabled": self.enabled,
            "events": list(self.events),
            "created_at": self.created_at,
            "secret": self.secret.fingerprint if self.secret is not None else None,
        }


class Registrar:
    """Every method raises `RegistrationError`."""

    def __init__(self, client: Client, data_dir: Path) -> None:
        self._client = client
        self._data_dir = data_dir

    def endpoints(self) -> list[Endpoint]:
        """All endpoints of the workspace, whosever they are."""
        try:
            rows = list(self._client.walk(lambda page: self._client.endpoints("ordinary", page)))
        except (TryAgain, Refused) as error:
            raise RegistrationError(f"the endpoints cannot be listed: {error}") from None
        return [endpoint for endpoint in map(self._endpoint, rows) if endpoint is not None]

    def register(self, url: str, events: Sequence[str], *, another: bool = False) -> tuple[Endpoint, bool]:
        """The endpoint for `url`, and whether it was made by this. `another`: make one beside those that exist, to
        rotate the secret. `events`: none: every type that TokPortal sends."""
        wanted = self._events(events)
        there = [endpoint for endpoint in self.endpoints() if endpoint.url == url]
        if there and not another:
            known = next((endpoint for endpoint in there if endpoint.secret is not None), None)
            if known is not None:
                return known, False
            names = " and ".join(endpoint.endpoint_id for endpoint in there)
            raise RegistrationError(
                f"TokPortal has {names} for {url}, with a secret that is not stored here and is shown only once: if "
                "TOKPORTAL_WEBHOOK_SECRET holds it, nothing is missing; else delete it and register again, or use "
                "--another"
            )
        try:
            return self._create(url, wanted), True
        except AnswerLost:
            self._discard(url, known={endpoint.endpoint_id for endpoint in there})
        try:
            return self._create(url, wanted), True
        except AnswerLost as error:
            raise RegistrationError(
                f"TokPortal's answer was lost twice ({error}): see what `orchestrator webhooks list` shows"
            ) from None

    def test(self, endpoint_id: str) -> Row:
        """Has TokPortal send a signed `webhook.test`; what it says of that delivery."""
        try:
            answer, _ = self._client.call("testWebhookEndpoint", "ordinary", {"id": endpoint_id})
        except (TryAgain, Refused, AnswerLost) as error:
            raise RegistrationError(f"{endpoint_id} cannot be tried: {error}") from None
        return answer.data

    def delete(self, endpoint_id: str) -> bool:
        """Whether its secret was stored here. It is removed only once TokPortal has no such endpoint any more."""
        try:
            self._client.call("deleteWebhookEndpoint", "ordinary", {"id": endpoint_id}, key=f"delete-{endpoint_id}")
        except Refused as error:
            if error.status != 404:
                raise RegistrationError(f"{endpoint_id} was not deleted: {error}") from None
            if stored_webhook_secret(self._data_dir, endpoint_id) is None:
                raise RegistrationError(f"TokPortal has no endpoint {endpoint_id}") from None
        except TryAgain as error:
            raise RegistrationError(f"{endpoint_id} was not deleted: {error}") from None
        except AnswerLost as error:
            if any(endpoint.endpoint_id == endpoint_id for endpoint in self.endpoints()):
                raise RegistrationError(f"{endpoint_id} was not deleted: {error}") from None
        return forget_webhook_secret(self._data_dir, endpoint_id)

    def _create(self, url: str, events: Sequence[str]) -> Endpoint:
        """Raises `AnswerLost` besides."""
        body = {"url": url, "events": list(events), "description": DESCRIPTION, "enabled": True}
        try:
            answer, _ = self._client.call("createWebhookEndpoint", "ordinary", body=body)
        except (TryAgain, Refused) as error:
            raise RegistrationError(f"TokPortal did not register {url}: {error}") from None
        endpoint_id, secret = text_of(answer.data, "id", "webhook_id"), text_of(answer.data, "signing_secret", "secret")
        if endpoint_id is None or secret is None:
            raise AnswerLost("the answer has no id or no signing secret")
        store_webhook_secret(self._data_dir, endpoint_id, secret)
        made = self._endpoint({"url": url, "events": list(events), "enabled": True, **answer.data, "id": endpoint_id})
        if made is None:
            raise AnswerLost("the answer names no endpoint")
        return made

    def _discard(self, url: str, known: set[str]) -> None:
        for endpoint in self.endpoints():
            if endpoint.url == url and endpoint.endpoint_id not in known:
                self.delete(endpoint.endpoint_id)

    def _events(self, events: Sequence[str]) -> list[str]:
        try:
            rows = self._client.events("ordinary").rows
        except (TryAgain, Refused) as error:
            raise RegistrationError(f"TokPortal does not say which events it sends: {error}") from None
        known = [name for row in rows if (name := text_of(row, "type", "name", "event")) is not None]
        for name in events:
            if known and name not in known:
                close = get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"it sends {', '.join(known)}"
                raise RegistrationError(f"TokPortal sends no event {name!r}: {hint}")
        if not events and not known:
            raise RegistrationError("TokPortal lists no events: name those that you want with --events")
        return list(dict.fromkeys(events)) or known

    def _endpoint(self, row: Row) -> Endpoint | None:
        endpoint_id, url = text_of(row, "id", "webhook_id"), text_of(row, "url")
        if endpoint_id is None or url is None:
            return None
        events = row.get("events")
        names = tuple(name for name in events if isinstance(name, str)) if isinstance(events, list) else ()
        secret = stored_webhook_secret(self._data_dir, endpoint_id)
        return Endpoint(endpoint_id, url, row.get("enabled") is not False, names, text_of(row, "created_at"), secret)


def endpoint_url(given: str | None, public_url: str | None, base_url: str) -> str:
    """Where TokPortal is to send webhooks. It takes HTTPS only; on this machine, where a look-alike of it runs, plain
    HTTP will do.

    Raises `RegistrationError`.
    """
    if given is None and public_url is None:
        raise RegistrationError(
            "ORCHESTRATOR_PUBLIC_URL is not set: it says how TokPortal reaches this service, as https://host.example.com"
        )
    url = given if given is not None else f"{str(public_url).rstrip('/')}{SINGLE}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
        parts = urlsplit("")
    if not host or parts.username or parts.scheme not in ("https", "http"):
        shown = hide_credentials(url)
        raise RegistrationError(f"{shown!r} is no address for webhooks: write https://host.example.com{SINGLE}")
    if parts.path.startswith(f"{SINGLE}/"):
        # Such an endpoint takes the secrets that webhooks.yaml names, and not the one that would be stored here.
        raise RegistrationError(
            f"{url!r} is an endpoint of webhooks.yaml, which has secrets of its own: register {SINGLE}, or make that "
            "one in TokPortal's settings and set the variable that webhooks.yaml names"
        )
    is_at_home = _is_loopback(host) and _is_loopback(urlsplit(base_url).hostname or "")
    if parts.scheme != "https" and not is_at_home:
        raise RegistrationError(f"{url!r} is plain HTTP, and TokPortal sends over HTTPS only: write https://")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
