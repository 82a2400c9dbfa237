"""A database that does not answer: senders are told so in time, and nothing is lost or counted twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from tests.blackbox.conftest import NewServer
from tests.blackbox.server import ARTICLE, Server, signature, wait_for
from tests.blackbox.story import article, fresh
from tests.blackbox.wire import head_of, receive


@contextmanager
def blocked(database_url: str) -> Iterator[None]:
    """Nobody can write to the journal within this block."""
    if database_url.startswith("sqlite"):
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None, timeout=20)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    else:
        with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
            connection.execute("LOCK TABLE journal IN ACCESS EXCLUSIVE MODE")
            yield
            connection.rollback()


def check_unavailable(server: Server, message: dict) -> None:
    began = time.monotonic()
    answer = server.post_webhook(message)
    assert time.monotonic() - began < 4
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1


def check_unavailable_to_a_slow_sender(server: Server) -> None:
    """The two deadlines share the four seconds."""
    body = b"{}"
    with server.connection() as connection:
        began = time.monotonic()
        connection.sendall(head_of(len(body), signature(ARTICLE, body)) + body[:1])
        wait_for(lambda: time.monotonic() - began > 2.5)
        connection.sendall(body[1:])
        answer = receive(connection, began)
    assert answer.status == 503
    assert answer.seconds < 4


def test_what_cannot_be_stored_is_said_so_in_time_and_taken_the_next_time(
    migrated_url: str, new_server: NewServer
) -> None:
    server = new_server(migrated_url, "--no-migrate").start()
    known = article("bundle.created", fresh("bdl"))
    server.deliver(known)
    server.wait_until_applied()
    messages = [article("bundle.created", fresh("bdl")) for _ in range(12)]
    with blocked(migrated_url), ThreadPoolExecutor(16) as pool:
        # More than one wave, so that some wait behind others that wait.
        waves = [pool.submit(check_unavailable_to_a_slow_sender, server)]
        waves += [pool.submit(check_unavailable, server, message) for message in [known, *messages[:6]]]
        wait_for(lambda: not server.answers("/health/ready"), seconds=4, what="a journal that is not ready")
        waves += [pool.submit(check_unavailable, server, message) for message in messages[6:]]
        assert server.answers("/health/live")
        # A signature is judged, and a challenge answered, all the same.
        assert server.post_webhook(known, secret="wrong").status_code == 401
        assert server.client().get("/webhooks/tokportal?challenge=x").text == "x"
        for future in waves:
            future.result()
    wait_for(lambda: server.answers("/health/ready"), what="a journal that is ready again")

    # TokPortal delivers again. A commit may have landed after all: then that one is a duplicate.
    for message in messages:
        answer = wait_for(lambda message=message: taken(server, message), what="a redelivery that is taken")
        assert answer in ("accepted", "duplicate")
    assert taken(server, known) == "duplicate"
    server.wait_until_applied()
    wait_for(lambda: server.answers("/health/work"), what="work that goes on")
    for message in [known, *messages]:
        (item,) = server.journalled(message["id"])
        assert (item["status"], item["deliveries"] >= 1) == ("applied", True)
        assert len(server.items(f"/api/bundles/{message['bundle_id']}/history")) == 1


def taken(server: Server, message: dict) -> str:
    answer = server.post_webhook(message)
    return answer.json()["status"] if answer.status_code == 200 else ""


def test_a_short_pause_is_waited_out(server: Server) -> None:
    """A lock of a second is nothing to bother TokPortal with."""
    message = article("bundle.created", fresh("bdl"))
    with ThreadPoolExecutor(1) as pool:
        with blocked(server.settings["ORCHESTRATOR_DATABASE_URL"]):
            began = time.monotonic()
            delivery = pool.submit(server.deliver, message)
            wait_for(lambda: time.monotonic() - began > 0.5)
            assert not delivery.done()
        assert server.judged(delivery.result())["status"] == "applied"


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
def test_lost_connections_are_made_again(migrated_url: str, new_server: NewServer) -> None:
    """As after a restart of the database. At most a redelivery is needed."""
    server = new_server(migrated_url, "--no-migrate").start()
    for _ in range(3):
        with psycopg.connect(migrated_url.replace("+psycopg", "")) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        message = article("bundle.created", fresh("bdl"))
        wait_for(lambda message=message: taken(server, message), what="a delivery that is taken")
        wait_for(lambda: server.client().get("/api/messages").status_code == 200, what="an answer of the API")
        server.wait_until_applied()
        (item,) = server.journalled(message["id"])
        assert item["status"] == "applied"
        assert len(server.items(f"/api/bundles/{message['bundle_id']}/history")) == 1
    wait_for(lambda: server.answers("/health/work"), what="work that goes on")


def test_a_committing_process_that_freezes_or_dies_costs_time_and_nothing_else(
    migrated_url: str, new_server: NewServer
) -> None:
    server = new_server(migrated_url, "--no-migrate").start()
    messages = [article("bundle.created", fresh("bdl")) for _ in range(4)]
    server.deliver(messages[0])
    frozen = server.worker("journal")
    os.kill(frozen, signal.SIGSTOP)
    try:
        check_unavailable(server, messages[1])
        wait_for(lambda: not server.answers("/health/ready"), seconds=4, what="a journal that is not ready")
    finally:
        os.kill(frozen, signal.SIGCONT)
    wait_for(lambda: server.answers("/health/ready"), what="a journal that is ready again")
    assert wait_for(lambda: taken(server, messages[1])) in ("accepted", "duplicate")

    os.kill(server.worker("journal"), signal.SIGKILL)
    wait_for(lambda: taken(server, messages[2]), seconds=10, what="a redelivery that is taken")
    server.deliver(messages[3])
    server.wait_until_applied()
    wait_for(lambda: server.answers("/health/work"), what="work that goes on")
    for message in messages:
        (item,) = server.journalled(message["id"])
        assert item["status"] == "applied"
        assert len(server.items(f"/api/bundles/{message['bundle_id']}/history")) == 1
