"""Who may call: people and programs with tokens, browsers that showed one, or, while there are none, only callers on
this very machine."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.api.problems import Problem
from orchestrator.api.services import ROLES, Token
from orchestrator.webhooks.networks import parse_address

OPEN = ("/webhooks", "/health")
"""Below these nobody is asked who they are: webhooks are signed, and health tells strangers nothing."""

FORWARDING = (
    "forwarded",
    "via",
    "x-forwarded",
    "x-original-",
    "x-originating-",
    "x-real-",
    "x-client-ip",
    "x-cluster-",
    "x-remote-",
    "x-proxy",
    "x-envoy-",
    "x-azure-",
    "x-amz-cf-",
    "x-amzn-",
    "true-client-ip",
    "client-ip",
    "cf-",
    "cdn-loop",
    "fastly-",
    "fly-",
    "ngrok-",
    "tailscale-",
)
"""How the names of headers begin that proxies and tunnels add: with one of them, a peer on this machine is only the
last hop of a caller who may be anywhere."""

SAFE = ("GET", "HEAD")
LOCAL = "local"


class Browsers(Protocol):
    """What browsers need, which cannot send a token with a page."""

    def is_open(self, path: str) -> bool:
        """Whether nobody is asked who they are at this address, where callers need tokens: there they sign in."""
        ...

    def viewer(self, scope: Scope) -> str | None:
        """Who the session of this request began with, if it has one and it counts for what is asked."""
        ...

    def sign_in(self, scope: Scope, problem: Problem) -> Response | None:
        """The form, where this request comes from a person's browser."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    role: str

    def may(self, role: str) -> bool:
        """Whether the caller's role is `role` or more."""
        return self.role in ROLES[ROLES.index(role) :]


STRANGER = Caller("stranger", "none")
"""Whoever was not asked."""


class Auth:
    """Puts the caller into the scope, or answers 401 or 403 before any address is looked at: strangers learn not even
    which addresses there are."""

    def __init__(self, app: ASGIApp, tokens: Sequence[Token], browsers: Browsers | None = None) -> None:
        self._app = app
        self._tokens = [(token, token.value.encode()) for token in tokens]
        self._browsers = browsers if self._tokens else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_open(scope["path"]):
            try:
                scope["caller"] = self._identify(scope)
            except Problem as problem:
                form = self._browsers.sign_in(scope, problem) if self._browsers is not None else None
                await (form or problem.response())(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return is_open(path) or (self._browsers is not None and self._browsers.is_open(path))

    def _identify(self, scope: Scope) -> Caller:
        if self._tokens:
            authorizations = [value for name, value in scope["headers"] if name == b"authorization"]
            viewer = self._browsers.viewer(scope) if self._browsers is not None and not authorizations else None
            # Whatever the token may do, its session may only look.
            return Caller(viewer, "viewer") if viewer is not None else self._bearer(authorizations)
        refusal = why_not_local(scope)
        if refusal is not None:
            raise Problem("forbidden", refusal)
        return Caller(LOCAL, "admin")

    def _bearer(self, authorizations: Sequence[bytes]) -> Caller:
        if not authorizations:
            raise _challenge("This address needs a token: Authorization: Bearer TOKEN.", "")
        scheme, _, secret = authorizations[0].partition(b" ")
        if len(authorizations) == 1 and scheme.lower() == b"bearer":
            found = None
            # Against all of them, so that the time taken tells nothing about any.
            for token, value in self._tokens:
                if hmac.compare_digest(secret.strip(), value):
                    found = token
            if found is not None:
                return Caller(found.name, found.role)
        raise _challenge("This token is not known.", ', error="invalid_token"')


def _challenge(detail: str, error: str) -> Problem:
    return Problem("unauthenticated", detail, headers={"WWW-Authenticate": f'Bearer realm="orchestrator"{error}'})


def is_open(path: str) -> bool:
    return any(path == prefix or path.startswith(prefix + "/") for prefix in OPEN)


def why_not_local(scope: Scope) -> str | None:
    """Why this request is not certain to come from this machine; None when it is."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    peer = scope.get("client")
    if peer is None or not _is_loopback(peer[0]):
        return "Without API tokens, only callers on this machine are answered."
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if len(hosts) != 1 or not _is_loopback(_without_port(hosts[0])):
        return "Without API tokens, the service answers only under localhost, 127.0.0.1 or [::1]."
    if any(name.decode("latin-1").lower().startswith(FORWARDING) for name, _ in headers):
        return "Without API tokens, nothing that came through a proxy or tunnel is answered."
    if scope["method"] not in SAFE:
        # A page from anywhere, open in a browser on this machine, can make it send a POST to this machine.
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if any(origin.partition("://")[2].lower() != hosts[0].lower() for origin in origins):
            return "Without API tokens, no page from elsewhere may give commands."
    return None


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    address = parse_address(host)
    return address is not None and address.is_loopback


def _without_port(host: str) -> str:
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        return name if bracket and ":" in name and _is_port(rest) else ""
    name, colon, rest = host.partition(":")
    return name if _is_port(colon + rest) else ""


def _is_port(text: str) -> bool:
    return not text or (text[0] == ":" and text[1:].isascii() and text[1:].isdigit() and len(text) <= 6)
