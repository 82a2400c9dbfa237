"""Where messages may be sent: to addresses of the public internet, on ports of services that encrypt.

A name that was looked up and judged can be looked up once more and say something else. So it is not names that are
judged but the address of each connection, at the moment in which it is made, whoever makes it: the library, after a
redirect, or at the second of several addresses.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

PORTS: Final = frozenset({443, 465, 587, 2465, 2587, 8443, 8448})
"""HTTPS, mail that is encrypted, and what self-hosted services use instead."""

_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_PRIVATE: Final = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128"))
)
"""What the switch for private addresses lets pass. Link-local addresses are not among them: metadata services of
clouds, which hand out credentials, live there."""
_NUMBERS: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]*))*", re.IGNORECASE)
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f@\\/?#%<>\"^`{|}]")


class RefusedError(OSError):
    """An address that nothing is sent to; says which, and why."""


def check_host(host: str) -> None:
    """Judges how a host is written: what two programs may read differently is refused. Raises `RefusedError`."""
    if not host or len(host) > 253:
        raise RefusedError("the URL names no host")
    if "%" in host and ":" in host:
        raise RefusedError("an IPv6 address must have no zone")
    if _FORBIDDEN.search(host):
        raise RefusedError("the host has characters that no name of a host has")
    if _NUMBERS.fullmatch(host.rstrip(".")) and _plain(host) is None:
        raise RefusedError("an IPv4 address must be written as four decimal numbers")


def _plain(host: str) -> IPv4Address | IPv6Address | None:
    """The address that `host` is, if it is one in its usual form."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def check_address(address: str, port: int, *, allow_private: bool = False) -> None:
    """Judges the address of a connection. Raises `RefusedError`.

    `allow_private`: loopback and private networks may be sent to as well, on any port.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        # Somebody connects to a name: what that will be is not known here.
        raise RefusedError("only a numeric address can be judged") from None
    if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
        raise RefusedError(f"{address} has a zone")
    inside = embedded(parsed)
    if allow_private and all(_is_private(one) for one in inside):
        return
    if not all(_is_public(one) for one in inside):
        raise RefusedError(f"{address} is no address of the public internet")
    if port not in PORTS:
        ports = ", ".join(map(str, sorted(PORTS)))
        raise RefusedError(f"port {port} is none of those that encrypted services have ({ports})")


def embedded(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """What a packet to this address may reach: the address itself, or the IPv4 addresses that stand inside it and a
    gateway unwraps (4-in-6, NAT64), or both (6to4, Teredo)."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 0xFFFF):
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    if address.sixtofour is not None:
        return [address, address.sixtofour]
    if address.teredo is not None:
        return [address, *address.teredo]
    return [address]


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    # `is_global` alone is true of multicast, and of much of IPv6 that is not assigned.
    is_unicast = isinstance(address, IPv4Address) or address in _UNICAST
    return address.is_global and not address.is_multicast and is_unicast


def _is_private(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in _PRIVATE)


class Guard:
    """Judges connections while it is on, and remembers what it refused: libraries keep such errors to themselves."""

    def __init__(self, *, allow_private: bool) -> None:
        self.allow_private = allow_private
        self.refusals: list[str] = []

    def check(self, family: int, address: Any) -> None:
        try:
            if family not in (socket.AF_INET, socket.AF_INET6):
                raise RefusedError("only the internet is sent to")
            host = address[0]
            if not isinstance(host, str):
                raise RefusedError("only a numeric address can be judged")
            if len(address) > 3 and address[3]:
                raise RefusedError(f"{host} has a zone")
            check_address(host, address[1], allow_private=self.allow_private)
        except RefusedError as error:
            self.refusals.append(str(error))
            raise


_guard: ContextVar[Guard | None] = ContextVar("guard", default=None)


@contextmanager
def guarded(*, allow_private: bool) -> Iterator[Guard]:
    """Every connection that Python code in this context makes is judged; elsewhere nothing changes. Threads are in the
    context only where they are started with a copy of it."""
    _install()
    guard = Guard(allow_private=allow_private)
    token = _guard.set(guard)
    try:
        yield guard
    finally:
        _guard.reset(token)


@cache
def _install() -> None:
    # The interpreter itself asks before each connection, so that no library has to be patched for it.
    sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return
    guard = _guard.get()
    if guard is None or args[1] is None:
        return
    guard.check(args[0].family, args[1])
