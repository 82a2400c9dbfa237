from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest
from tokportal._generated import OPERATION_DEFINITIONS
from tokportal.client import SENSITIVE_RESPONSE_OPERATION_IDS, TokPortal

import orchestrator.tokportal
from orchestrator.secrets import Secret
from orchestrator.tokportal.operations import OPERATIONS, Cost, ForbiddenOperation, operation
from orchestrator.tokportal.transport import Call, Transport, calling
from tests.tokportal.fake import BASE, KEY, Fake

NEVER = ["revealAccountCredentials", "retrieveAccountVerificationCode", "uploadVideo", "uploadImage"]
OTHERS = sorted(set(OPERATION_DEFINITIONS) - set(OPERATIONS))


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_in_the_table_cannot_be_called(name: str) -> None:
    fake = Fake({})
    with pytest.raises(ForbiddenOperation, match="no operation that this program calls"):
        fake.client().call(name, "ordinary", {"id": "a", "position": 1})
    assert fake.asked == []


@pytest.mark.parametrize(
    "name", [name for name in OTHERS if OPERATION_DEFINITIONS[name]["request_content_type"] != "multipart/form-data"]
)
def test_nor_by_the_sdk_itself(name: str) -> None:
    """The transport is the second fence: whoever gets hold of the SDK's client can send nothing else with it."""

    def fail(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError(f"{request.method} {request.url} was sent")

    transport = Transport(BASE, Secret(KEY), client=httpx2.Client(transport=httpx2.MockTransport(fail)))
    sdk = TokPortal(KEY, BASE, transport)
    path = {"id": "a", "position": 1, "delivery_id": "d"}
    # The path of `GET /webhooks/events` looks like that of an endpoint whose id is `events`.
    if name in ("getWebhookEndpoint",):
        path["id"] = "b"
    with calling(Call(name, "req_1")), pytest.raises(ForbiddenOperation, match="no request that this program makes"):
        sdk.request_operation(name, path, body={} if OPERATION_DEFINITIONS[name]["has_json_body"] else None)


def test_helpers_of_the_sdk_that_reveal_are_stopped() -> None:
    transport = Transport(BASE, Secret(KEY), client=Fake({}).client()._transport._client)
    sdk = TokPortal(KEY, BASE, transport)
    acceptance = {"acknowledge_support_forfeit": True, "policy_version": "1"}
    with calling(Call("x", "req_1")):
        with pytest.raises(ForbiddenOperation):
            sdk.accounts.reveal_credentials("a", acceptance=acceptance)  # type: ignore[arg-type]
        with pytest.raises(ForbiddenOperation):
            sdk.accounts.verification_code("a", acceptance=acceptance)  # type: ignore[arg-type]
        with pytest.raises(ForbiddenOperation):
            sdk.accounts.verification_code("../accounts/a", acceptance=acceptance)  # type: ignore[arg-type]


def test_no_line_of_the_gateway_names_them() -> None:
    folder = Path(orchestrator.tokportal.__file__).parent
    forbidden = re.compile(
        "reveal_?(account_?)?credentials|reveal-credentials|verification.code|upload_?(video|image)\\b", re.I
    )
    for path in folder.rglob("*.py"):
        if path.name != "operations.py":
            assert not forbidden.findall(path.read_text()), path
    assert not set(NEVER) & set(OPERATIONS)


def test_the_table_agrees_with_the_sdk() -> None:
    for name, known in OPERATIONS.items():
        theirs = OPERATION_DEFINITIONS[name]
        assert (known.method, known.path) == (theirs["method"], theirs["path"])
        assert known.takes_key == (theirs["idempotency_policy"] == "standard")
        assert known.writes or known.cost is Cost.FREE
    assert set(OPERATIONS) & SENSITIVE_RESPONSE_OPERATION_IDS == {"createWebhookEndpoint"}
    assert {name for name, known in OPERATIONS.items() if known.cost is Cost.PAID} == {"addVideoSlots", "rewarmAccount"}


def test_ids_cannot_leave_their_place_in_a_path() -> None:
    fake = Fake({"GET /bundles/..%2Faccounts%2Fa%3Fx": {"data": {"id": "b"}}})
    fake.client().bundle("ordinary", "../accounts/a?x")
    assert fake.whats() == ["GET /bundles/..%2Faccounts%2Fa%3Fx"]


def test_an_irreversible_or_paid_call_needs_a_key() -> None:
    for name in ("addVideoSlots", "resetBundleVideo"):
        with pytest.raises(ValueError, match="idempotency key"):
            Fake({}).client().call(name, "ordinary", {"id": "b", "position": 1})
    assert operation("resetBundleVideo").cost is Cost.IRREVERSIBLE
