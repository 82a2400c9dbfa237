"""Where a webhook came from: network lists, and the client behind trusted proxies."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_OWS: Final = b" \t"
_LONGEST: Final = 64
_PORT_DIGITS: Final = 5


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an IP address; None where `text` is none. Never raises.

    IPv4-mapped IPv6 (`::ffff:192.0.2.1`, what a dual-stack socket reports) becomes IPv4, and a zone (`%eth0`) is
    dropped, so that one sender has one spelling.
    """
    # The length is checked outside the cache: what an attacker sends must not be kept whole.
    return _parse(text) if len(text) <= _LONGEST else None


class Networks:
    """A list of networks in CIDR notation, reloadable from a file while the service runs."""

    def __init__(self, source: str) -> None:
        """Read `source`: `192.0.2.0/24,2001:db8::/32`, or `@FILE`.

        A file holds one or more entries a line, comma separated; `#` starts a comment. An entry without a prefix
        length is that one address.

        Raises:
            ValueError: an entry is no network, the list is empty or the file cannot be read; says what would be right.
        """
        self._source = source.strip()
        self._networks: tuple[IPv4Network | IPv6Network, ...] = ()
        self._masks: dict[int, dict[int, set[int]]] = {}
        self.reload()

    def reload(self) -> None:
        """Read the source again. When that fails, the list stays as it was.

        Raises:
            ValueError: as in the constructor.
        """
        networks = _parse_list(self._source)
        masks: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
        for network in networks:
            bases = masks[network.version].setdefault(int(network.netmask), set())
            bases.add(int(network.network_address))
        self._networks, self._masks = networks, masks

    def contains(self, address: str) -> bool:
        """Whether `address` lies in one of the networks; False for anything that is no address. Never raises."""
        parsed = parse_address(address)
        return parsed is not None and self._contain(parsed)

    def _contain(self, address: IPv4Address | IPv6Address) -> bool:
        number = int(address)
        return any(number & mask in bases for mask, bases in self._masks[address.version].items())

    def __len__(self) -> int:
        return len(self._networks)

    def __str__(self) -> str:
        return ",".join(map(str, self._networks))


def client_of(
    peer: str | None, headers: Iterable[tuple[bytes, bytes]], trusted: Networks | None
) -> tuple[str, str | None]:
    """Find the client's address and the scheme it used, as far as our own proxies vouch for them. Never raises.

    `X-Forwarded-For` is walked from the right, since each proxy appends the address it saw and everything further left
    may be invented. The walk ends at the first hop that is not trusted, or before one that cannot be read.

    Args:
        peer: address of the socket peer; None for a Unix socket, which is in no network and so never trusted.
        headers: raw ASGI headers, names in lower case.
        trusted: the proxies whose headers count; None: nobody's do.

    Returns:
        The client's address in its shortest spelling (what `peer` says where that is no address, and an empty text for
        None), and `http` or `https` from the rightmost `X-Forwarded-Proto`, or None where no trusted proxy says so.
    """
    socket = parse_address(peer or "")
    if socket is None:
        return peer or "", None
    if trusted is None or not trusted._contain(socket):
        return str(socket), None

    forwarded_for = []
    scheme = b""
    for name, value in headers:
        if name == b"x-forwarded-for":
            forwarded_for.append(value)
        elif name == b"x-forwarded-proto":
            scheme = value.rpartition(b",")[2].strip(_OWS).lower()

    client = socket
    for hop in reversed(b",".join(forwarded_for).split(b",")):
        address = _parse_hop(hop.strip(_OWS).decode("latin-1"))
        if address is None:
            break
        client = address
        if not trusted._contain(address):
            break
    return str(client), scheme.decode() if scheme in (b"http", b"https") else None


@lru_cache(4096)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _parse_hop(text: str) -> IPv4Address | IPv6Address | None:
    """Read `ADDRESS`, `IPV4:PORT`, `[IPV6]` or `[IPV6]:PORT`."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        well_formed = bracket and ":" in host and (not rest or (rest[0] == ":" and _is_port(rest[1:])))
        return parse_address(host) if well_formed else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return parse_address(host) if _is_port(port) else None
    return parse_address(text)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _PORT_DIGITS and int(text) <= 65535


def _parse_list(source: str) -> tuple[IPv4Network | IPv6Network, ...]:
    text, where = source, ""
    if source.startswith("@"):
        where = f" in {source[1:]}"
        try:
            text = Path(source[1:]).read_text("utf-8-sig")
        except (OSError, ValueError) as error:
            raise ValueError(f"cannot read the network list {source[1:]!r}: {error}") from error
    entries = [entry.strip() for line in text.splitlines() for entry in line.partition("#")[0].split(",")]
    networks = tuple(_parse_network(entry, where) for entry in entries if entry)
    if not networks:
        raise ValueError(f"no network{where or ' in the list'}: give one such as 192.0.2.0/24, or leave the list unset")
    return networks


def _parse_network(entry: str, where: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(entry)
    except ValueError:
        raise ValueError(f"{entry!r}{where} is no network: {_advice(entry)}") from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _advice(entry: str) -> str:
    try:
        return f"bits are set after the prefix, write {ip_network(entry, strict=False)}"
    except ValueError:
        return "write an address with a prefix length, such as 192.0.2.0/24 or 2001:db8::/32"
