"""Where messages may go: addresses, ways to write them, and names that change their mind."""

from __future__ import annotations

import contextvars
import socket
import threading

import pytest
import requests

from orchestrator.alerts.ssrf import RefusedError, check_address, check_host, guarded

REFUSED = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.8.8.8 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.1 192.0.2.1 192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1
255.255.255.255
:: ::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 ::127.0.0.1 ::ffff:0:127.0.0.1
64:ff9b::a9fe:a9fe 64:ff9b::7f00:1 64:ff9b:1::1
2002:a9fe:a9fe:: 2002:7f00:1:: 2002:c0a8:1::1
2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1 100::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 ff0e::1 4000::1
""".split()
ALLOWED = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.0.0.1 128.0.0.1 169.253.255.255 172.15.0.1
172.32.0.1 192.167.0.1 2606:4700:4700::1111 2a00:1450:4001:80b::200e ::ffff:8.8.8.8 64:ff9b::808:808
""".split()


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_are_not_of_the_public_internet_are_refused(address: str) -> None:
    with pytest.raises(RefusedError, match="no address of the public internet"):
        check_address(address, 443)


@pytest.mark.parametrize("address", ALLOWED)
def test_addresses_of_the_public_internet_pass(address: str) -> None:
    check_address(address, 443)


@pytest.mark.parametrize("port", [0, 22, 25, 80, 3306, 5432, 6379, 8080, 9200, 65535])
def test_ports_of_what_does_not_encrypt_are_refused(port: int) -> None:
    with pytest.raises(RefusedError, match=f"port {port} "):
        check_address("8.8.8.8", port)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "172.20.0.1", "192.168.1.1", "fd00::1"])
def test_with_the_switch_private_networks_pass_on_any_port(address: str) -> None:
    check_address(address, 8080, allow_private=True)


@pytest.mark.parametrize(
    "address",
    "169.254.169.254 0.0.0.0 100.64.0.1 224.0.0.1 fe80::1 :: 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: "
    "::ffff:169.254.169.254 2002:7f00:1:: 255.255.255.255".split(),
)
def test_not_even_with_the_switch_do_metadata_services_and_the_like(address: str) -> None:
    with pytest.raises(RefusedError):
        check_address(address, 80, allow_private=True)


def test_with_the_switch_the_public_internet_is_judged_as_ever() -> None:
    check_address("8.8.8.8", 443, allow_private=True)
    with pytest.raises(RefusedError, match="port 80"):
        check_address("8.8.8.8", 80, allow_private=True)


@pytest.mark.parametrize("address", ["example.com", "localhost", "", "fe80::1%eth0", "2606:4700::1%1", "8.8.8"])
def test_only_numeric_addresses_without_a_zone_can_be_judged(address: str) -> None:
    with pytest.raises(RefusedError):
        check_address(address, 443)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "134744072",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "1.",
        "fe80::1%25eth0",
        "[fe80::1%eth0]",
        "good.example@evil.example",
        "good.example\\evil.example",
        "evil.example#good.example",
        "evil.example/x",
        "a b",
        "a\tb",
        "a\r\nHost: b",
        "a\x00b",
        "",
        "a" * 300,
    ],
)
def test_hosts_that_two_programs_read_differently_are_refused(host: str) -> None:
    with pytest.raises(RefusedError):
        check_host(host)


@pytest.mark.parametrize(
    "host",
    ["example.com", "example.com.", "1password.com", "0x.example", "bücher.example", "8.8.8.8", "[2606:4700::1]"],
)
def test_hosts_in_their_usual_form_pass(host: str) -> None:
    check_host(host)


# Connections as they are made.


@pytest.fixture
def door() -> int:
    """A port on this machine that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_connection_is_judged_when_it_is_made(door: int) -> None:
    with guarded(allow_private=False) as guard, pytest.raises(RefusedError):
        socket.create_connection(("127.0.0.1", door), timeout=2)
    assert guard.refusals == ["127.0.0.1 is no address of the public internet"]


def test_a_name_is_judged_by_what_it_is_at_that_moment(door: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was looked up and found good; when it is looked up again it has become this machine."""
    answers = iter(["93.184.216.34", "127.0.0.1"])

    def rebinding(host: str, port: int, *args: object, **kwargs: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    (found,) = socket.getaddrinfo("rebind.example", door)
    check_address(found[4][0], 443)
    with guarded(allow_private=False), pytest.raises(RefusedError):
        socket.create_connection(("rebind.example", door), timeout=2)


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
def test_however_the_host_is_written_it_is_its_address_that_counts(host: str, door: int) -> None:
    with guarded(allow_private=False) as guard, pytest.raises(RefusedError):
        socket.create_connection((host, door), timeout=2)
    assert guard.refusals


def test_a_name_that_the_system_would_resolve_while_it_connects_is_refused(door: int) -> None:
    with (
        guarded(allow_private=True),
        socket.socket() as connection,
        pytest.raises(RefusedError, match="only a numeric address"),
    ):
        connection.connect(("localhost", door))


def test_datagrams_and_local_sockets_are_judged_too(tmp_path: object) -> None:
    with guarded(allow_private=False), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(RefusedError):
            datagrams.sendto(b"x", ("127.0.0.1", 514))
        with pytest.raises(RefusedError):
            datagrams.sendmsg([b"x"], [], 0, ("127.0.0.1", 514))
    with (
        guarded(allow_private=True),
        socket.socket(socket.AF_UNIX) as local,
        pytest.raises(RefusedError, match="only the internet"),
    ):
        local.connect(f"{tmp_path}/socket")


def test_what_a_http_library_connects_to_is_judged_as_well(door: int) -> None:
    with guarded(allow_private=False) as guard, pytest.raises(requests.ConnectionError):
        requests.get(f"http://localhost:{door}/", timeout=2)
    assert guard.refusals


def test_elsewhere_nothing_changes(door: int) -> None:
    with guarded(allow_private=False):
        pass
    socket.create_connection(("127.0.0.1", door), timeout=2).close()


def test_another_thread_is_not_judged_unless_it_was_given_the_context(door: int) -> None:
    found: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection(("127.0.0.1", door), timeout=2).close()
            found.append("connected")
        except RefusedError:
            found.append("refused")

    with guarded(allow_private=False):
        context = contextvars.copy_context()
        threads = [threading.Thread(target=connect), threading.Thread(target=context.run, args=(connect,))]
        for thread in threads:
            thread.start()
            thread.join()
    assert found == ["connected", "refused"]
