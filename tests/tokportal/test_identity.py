"""A database belongs to one account at TokPortal, and serves no other."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from orchestrator.database import Database
from orchestrator.tokportal.identity import ASK_AGAIN, Identity, identify
from orchestrator.world import OtherWorldError
from tests.tokportal.fake import Fake, no

OURS = {"data": {"id": "usr_1", "email": "ann@example.com"}}
THEIRS = {"data": {"id": "usr_2", "email": "ann@example.com"}}


def test_the_first_account_is_remembered_and_asked_for_once(database: Database) -> None:
    fake = Fake({"GET /me": OURS})
    identity = Identity(fake.client(), database)

    assert identity.is_ours() and identity.is_ours()
    assert fake.whats() == ["GET /me"]
    assert Identity(Fake({"GET /me": OURS}).client(), database).is_ours()


def test_another_account_is_refused_with_what_to_do(database: Database) -> None:
    assert Identity(Fake({"GET /me": OURS}).client(), database).is_ours()

    with pytest.raises(OtherWorldError, match="another account at TokPortal than TOKPORTAL_API_KEY opens"):
        Identity(Fake({"GET /me": THEIRS}).client(), database).is_ours()


@pytest.mark.parametrize("trouble", [httpx2.ConnectError("no route"), (500, {}), no(401, "AUTH_INVALID_KEY")])
def test_nothing_begins_before_tokportal_has_answered(database: Database, trouble: Any) -> None:
    now = [0.0]
    fake = Fake({"GET /me": [trouble, OURS]})
    identity = Identity(fake.client(), database, lambda: now[0])

    assert not identity.is_ours()
    assert not identity.is_ours()
    assert len(fake.asked) == 1
    now[0] = ASK_AGAIN
    assert identity.is_ours()


@pytest.mark.parametrize(
    "answer", [no(404, "NOT_FOUND"), no(403, "FORBIDDEN"), {"data": {"name": "Ann"}}, {"data": []}]
)
def test_where_tokportal_does_not_say_whose_it_is_the_work_goes_on(database: Database, answer: Any) -> None:
    assert Identity(Fake({"GET /me": OURS}).client(), database).is_ours()

    assert Identity(Fake({"GET /me": answer}).client(), database).is_ours()


def test_an_identity_is_the_widest_that_is_told() -> None:
    wide = {"user_id": "u1", "workspace_id": "w1"}
    assert identify(wide) == identify({"workspace_id": "w1"}) != identify({"user_id": "u1"})
    assert identify({"workspace": {"id": 7}}) is not None
    assert identify({"id": True, "email": ""}) is None
