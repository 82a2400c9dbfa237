from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.webhooks.networks import Networks, client_of, parse_address

PROXY = "10.0.0.1"
CDN = "198.51.100.7"
CLIENT = "203.0.113.9"

TRUSTED = Networks("10.0.0.0/8,198.51.100.0/24,2001:db8:ff::/48")


def client(*forwarded_for: str, peer: str | None = PROXY, trusted: Networks | None = TRUSTED) -> str:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded_for]
    return client_of(peer, headers, trusted)[0]


def scheme(*forwarded_proto: str, peer: str | None = PROXY, trusted: Networks | None = TRUSTED) -> str | None:
    headers = [(b"x-forwarded-proto", value.encode()) for value in forwarded_proto]
    return client_of(peer, headers, trusted)[1]


# Lists


@pytest.mark.parametrize(
    ("source", "inside", "outside"),
    [
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0", "2001:db8::1"]),
        ("192.0.2.7", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
        ("192.0.2.0/255.255.255.0", ["192.0.2.9"], ["192.0.3.9"]),
        ("0.0.0.0/0", ["192.0.2.7", "255.255.255.255"], ["::1"]),
        ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff::1"], ["2001:db9::", "192.0.2.7"]),
        ("2001:db8::1", ["2001:db8::1", "2001:DB8:0::1"], ["2001:db8::2"]),
        (" 192.0.2.0/24 , , 2001:db8::/32,", ["192.0.2.1", "2001:db8::1"], ["192.0.3.1"]),
        ("192.0.2.0/24,198.51.100.0/24,10.0.0.0/8", ["192.0.2.1", "198.51.100.1", "10.9.9.9"], ["203.0.113.9"]),
    ],
)
def test_list_contains(source: str, inside: list[str], outside: list[str]) -> None:
    networks = Networks(source)
    assert [address for address in inside + outside if networks.contains(address)] == inside


def test_mapped_address_is_the_ipv4_address_it_maps() -> None:
    assert Networks("192.0.2.0/24").contains("::ffff:192.0.2.1")
    assert Networks("192.0.2.0/24").contains("::ffff:c000:201")
    assert Networks("::ffff:192.0.2.0/120").contains("192.0.2.1")
    assert not Networks("192.0.2.0/24").contains("::192.0.2.1")
    assert not Networks("::/0").contains("::ffff:192.0.2.1")


def test_zone_is_ignored() -> None:
    assert Networks("fe80::/10").contains("fe80::1%eth0")


@pytest.mark.parametrize(
    "text",
    [
        *["", " ", "unknown", "localhost", "192.0.2", "192.0.2.256", "192.0.2.01", "192.0.2.1/32", "192.0.2.1:80"],
        *["[::1]", "\u0661.1.1.1", "3221225985", "0xc0.0.2.1", "192.0.2.1\n", " 192.0.2.1", "1" * 100_000],
    ],
)
def test_what_is_no_address_is_in_no_network(text: str) -> None:
    assert parse_address(text) is None
    assert not Networks("0.0.0.0/0,::/0").contains(text)


@given(st.ip_addresses(), st.lists(st.ip_addresses(), min_size=1, max_size=4), st.data())
def test_agrees_with_the_standard_library(address: object, bases: list[object], data: st.DataObject) -> None:
    lengths = [data.draw(st.integers(0, ip_address(str(base)).max_prefixlen)) for base in bases]
    networks = [ip_network(f"{base}/{length}", strict=False) for base, length in zip(bases, lengths, strict=True)]
    listed = Networks(",".join(map(str, networks)))
    plain = parse_address(str(address))
    assert plain is not None
    plain_networks = [ip_network(text) for text in str(listed).split(",")]
    assert listed.contains(str(address)) == any(plain in network for network in plain_networks)


def test_list_prints_as_it_is_understood() -> None:
    networks = Networks(" 192.0.2.7, ::ffff:198.51.100.0/120 ,2001:DB8::/32")
    assert str(networks) == "192.0.2.7/32,198.51.100.0/24,2001:db8::/32"
    assert len(networks) == 3


@pytest.mark.parametrize(
    ("source", "entry", "advice"),
    [
        ("10.0.0.1/8", "'10.0.0.1/8'", "10.0.0.0/8"),
        ("192.0.2.0/24,2001:db8::1/32", "'2001:db8::1/32'", "2001:db8::/32"),
        ("192.0.2.0/24,example.com", "'example.com'", "192.0.2.0/24"),
        ("192.0.2.0/33", "'192.0.2.0/33'", "192.0.2.0/24"),
        ("192.0.2", "'192.0.2'", "192.0.2.0/24"),
        ("*", "'*'", "192.0.2.0/24"),
        ("192.0.2.0/24;10.0.0.0/8", "'192.0.2.0/24;10.0.0.0/8'", "192.0.2.0/24"),
        ("", "no network", "192.0.2.0/24"),
        (" , ", "no network", "192.0.2.0/24"),
    ],
)
def test_bad_entry_is_named_with_what_would_be_right(source: str, entry: str, advice: str) -> None:
    with pytest.raises(ValueError) as caught:
        Networks(source)
    assert entry in str(caught.value)
    assert advice in str(caught.value).replace(entry, "")


# Files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "networks.txt"
    path.write_text("# TokPortal\n192.0.2.0/24, 198.51.100.0/24  # both\n\n2001:db8::/32\n")
    return path


def test_file_is_read(file: Path) -> None:
    assert str(Networks(f"@{file}")) == "192.0.2.0/24,198.51.100.0/24,2001:db8::/32"


def test_file_may_have_a_byte_order_mark_and_windows_line_ends(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf192.0.2.0/24\r\n198.51.100.0/24\r\n")
    assert str(Networks(f"@{file}")) == "192.0.2.0/24,198.51.100.0/24"


def test_file_is_reloaded(file: Path) -> None:
    networks = Networks(f"@{file}")
    file.write_text("203.0.113.0/24\n")
    assert not networks.contains(CLIENT)
    networks.reload()
    assert networks.contains(CLIENT)
    assert not networks.contains("192.0.2.1")


@pytest.mark.parametrize("content", [b"203.0.113.0/24\nnonsense", b"", b"# nothing\n", b"\xff\xfe", None])
def test_failed_reload_keeps_the_list(file: Path, content: bytes | None) -> None:
    networks = Networks(f"@{file}")
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"networks\.txt"):
        networks.reload()
    assert networks.contains("192.0.2.1")
    assert not networks.contains(CLIENT)


def test_bad_entry_in_a_file_is_named_with_the_file(file: Path) -> None:
    file.write_text("10.0.0.1/8\n")
    with pytest.raises(ValueError, match=r"'10\.0\.0\.1/8' in .*networks\.txt .*10\.0\.0\.0/8"):
        Networks(f"@{file}")


def test_list_in_the_variable_survives_a_reload() -> None:
    networks = Networks("192.0.2.0/24")
    networks.reload()
    assert networks.contains("192.0.2.1")


# The client behind proxies


def test_without_proxies_the_client_is_the_peer() -> None:
    assert client(peer=CLIENT, trusted=None) == CLIENT
    assert client(peer=CLIENT) == CLIENT
    assert client(peer=PROXY) == PROXY


def test_header_of_an_untrusted_peer_does_not_count() -> None:
    assert client("192.0.2.1", peer=CLIENT) == CLIENT
    assert client("192.0.2.1", peer=PROXY, trusted=None) == PROXY


def test_trusted_proxy_names_the_client() -> None:
    assert client(CLIENT) == CLIENT


def test_invented_hops_to_the_left_do_not_count() -> None:
    assert client(f"127.0.0.1, 10.0.0.9, {CLIENT}") == CLIENT
    assert client(f"192.0.2.1,{CLIENT},{PROXY}") == CLIENT


def test_two_proxies() -> None:
    assert client(f"{CLIENT}, {CDN}") == CLIENT
    assert client(f"192.0.2.1, {CLIENT}, {CDN}, 10.0.0.2") == CLIENT


def test_repeated_header_is_one_list() -> None:
    assert client("192.0.2.1", CLIENT, CDN) == CLIENT
    assert client(f"192.0.2.1, {CLIENT}", f"{CDN},10.0.0.2") == CLIENT


def test_when_every_hop_is_trusted_the_leftmost_is_the_client() -> None:
    assert client(f"10.0.0.3, {CDN}, 10.0.0.2") == "10.0.0.3"


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("203.0.113.9:51234", "203.0.113.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("[2001:DB8:0:0::9]:443", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:1", "203.0.113.9"),
        (" \t203.0.113.9\t ", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_hop_may_be_written_in_any_usual_way(hop: str, address: str) -> None:
    assert client(hop) == address
    assert client(f"192.0.2.1, {hop}, {CDN}:443") == address


@pytest.mark.parametrize(
    "garbage",
    [
        *["", " ", "unknown", "_hidden", "203.0.113.9:", "203.0.113.9:x", "203.0.113.9:65536", "203.0.113.9:\u0661"],
        *["203.0.113.999", "[203.0.113.9]", "[2001:db8::9", "2001:db8::9]", "[2001:db8::9]443", "[2001:db8::9]:"],
        *["for=203.0.113.9", '"203.0.113.9"', "203.0.113.9 10.0.0.2", "\x00", "[]", ":80"],
        pytest.param("9" * 5000, id="5000 digits"),
        pytest.param("203.0.113.9:" + "0" * 5000, id="port of 5000 digits"),
    ],
)
def test_walk_stops_before_garbage_at_the_last_good_hop(garbage: str) -> None:
    assert client(garbage) == PROXY
    assert client(f"{CLIENT}, {garbage}") == PROXY
    assert client(f"{CLIENT}, {garbage}, {CDN}") == CDN
    assert client(f"{garbage}, {CLIENT}, {CDN}") == CLIENT


@pytest.mark.parametrize("garbage", [b"203.0.113.9:\xb2", b"203.0.113.\xb9", b"\xa0203.0.113.9", b"203.0.113.9\x85"])
def test_bytes_that_latin_1_takes_for_digits_or_spaces_are_garbage(garbage: bytes) -> None:
    assert client_of(PROXY, [(b"x-forwarded-for", garbage)], TRUSTED) == (PROXY, None)


def test_peer_of_a_dual_stack_socket_is_the_ipv4_address() -> None:
    assert client(peer=f"::ffff:{CLIENT}", trusted=None) == CLIENT
    assert client(CLIENT, peer=f"::ffff:{PROXY}") == CLIENT


def test_unix_socket_has_no_address_and_is_not_trusted() -> None:
    headers = [(b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-proto", b"https")]
    assert client_of(None, headers, TRUSTED) == ("", None)


def test_peer_that_is_no_address_is_returned_as_it_is_and_not_trusted() -> None:
    assert client("192.0.2.1", peer="testclient") == "testclient"


# The scheme


def test_trusted_proxy_names_the_scheme() -> None:
    assert scheme("https") == "https"
    assert scheme("http") == "http"
    assert scheme(" HTTPS ") == "https"


def test_scheme_of_an_untrusted_peer_does_not_count() -> None:
    assert scheme("https", peer=CLIENT) is None
    assert scheme("https", trusted=None) is None


def test_rightmost_scheme_counts() -> None:
    assert scheme("https, http") == "http"
    assert scheme("http,https") == "https"
    assert scheme("https", "http") == "http"
    assert scheme("http", "https, https") == "https"


@pytest.mark.parametrize("value", ["", ",", "https,", "https;", "wss", "on", "httpsé", "https\x00", '"https"'])
def test_scheme_that_is_neither_http_nor_https_is_unknown(value: str) -> None:
    assert scheme(value) is None


def test_no_scheme_is_unknown() -> None:
    assert scheme() is None


@given(
    st.none() | st.just(PROXY) | st.text(),
    st.lists(st.tuples(st.sampled_from([b"x-forwarded-for", b"x-forwarded-proto", b"forwarded"]), st.binary())),
)
@example(PROXY, [(b"x-forwarded-for", b"\xff\xfe")])
@example("\ud800", [])
def test_arbitrary_input_never_raises(peer: str | None, headers: list[tuple[bytes, bytes]]) -> None:
    address, proto = client_of(peer, headers, TRUSTED)
    assert address == (peer or "") or parse_address(address) is not None
    assert proto in (None, "http", "https")


@given(st.lists(st.sampled_from([CLIENT, CDN, "10.0.0.2", "unknown", "", "192.0.2.1"]), max_size=6))
def test_what_a_client_invents_never_hides_it(invented: list[str]) -> None:
    seen_by_the_cdn = [*invented, CLIENT]
    assert client(", ".join([*seen_by_the_cdn, CDN])) == CLIENT
