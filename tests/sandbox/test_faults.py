"""Which requests go wrong."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.sandbox.faults import FaultSettings, RestFault, WebhookFaults, WorldFaults
from orchestrator.sandbox.worldfile import WorldFileError, read


def faults(*rest: RestFault, seed: int = 0) -> WorldFaults:
    return WorldFaults(FaultSettings(rest=rest), seed)


def test_a_fault_befalls_the_requests_that_it_is_meant_for() -> None:
    world = faults(RestFault(share=1.0, kind="timeout", methods=("PUT",), path="/bundles/*/videos/*", seconds=30.0))
    fault = world.on_request("PUT", "/bundles/bdl_1/videos/3")
    assert fault is not None and (fault.kind, fault.seconds) == ("timeout", 30.0)
    assert world.on_request("GET", "/bundles/bdl_1/videos/3") is None
    assert world.on_request("PUT", "/bundles/bdl_1/account") is None


def test_write_means_all_that_is_not_read() -> None:
    world = faults(RestFault(share=1.0, methods=("write",)))
    assert [method for method in ("GET", "POST", "PUT", "PATCH", "DELETE") if world.on_request(method, "/x")] == [
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
    ]


def test_read_means_get_and_an_unknown_method_is_refused() -> None:
    world = faults(RestFault(share=1.0, methods=("read",)))
    assert world.on_request("GET", "/x") is not None
    assert world.on_request("PUT", "/x") is None
    with pytest.raises(ValueError, match=r"not reads"):
        RestFault(share=1.0, methods=("reads", "write"))


def test_a_share_is_kept_over_many_requests_and_is_seeded() -> None:
    def hits(seed: int) -> list[int]:
        world = faults(RestFault(share=0.2), seed=seed)
        return [number for number in range(1_000) if world.on_request("GET", "/bundles")]

    assert 150 < len(hits(1)) < 250
    assert hits(1) == hits(1) != hits(2)


def test_a_fault_may_end_after_so_many_requests_and_begins_anew_when_it_is_set_again() -> None:
    world = faults(RestFault(share=1.0, first=2))
    assert [world.on_request("GET", "/") is not None for _ in range(4)] == [True, True, False, False]
    world.settings = world.settings
    assert world.on_request("GET", "/") is not None


def test_the_first_fault_that_is_meant_is_taken() -> None:
    world = faults(RestFault(share=1.0, path="/me", status=500), RestFault(share=1.0, status=502))
    statuses = [fault.status for path in ("/me", "/x") if (fault := world.on_request("GET", path))]
    assert statuses == [500, 502]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lost": 1.1}, "lost must be a share from 0 to 1"),
        ({"late_by": -1.0}, "late_by must not be below 0"),
    ],
)
def test_impossible_webhook_faults_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WebhookFaults(**settings)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"faults": {"rest": [{"share": 2}]}}, r"share must be a share from 0 to 1.*faults\.rest"),
        ({"faults": {"rest": [{"share": 0.1, "status": 200}]}}, "status"),
        ({"faults": {"rest": [{"share": 0.1, "first": 0}]}}, "first"),
        ({"faults": {"webhoks": {}}}, "webhoks"),
        ({"managers": {"misses": "often"}}, r"managers\.misses"),
        ({"managers": {"accepts_bundle": [5, 1]}}, "accepts_bundle must be the shortest and the longest"),
        ({"managers": {"tries": 0}}, "tries"),
        ({"managers": {"failure_codes": {"x": 0}}}, "failure_codes"),
        ({"webhooks": {"success": [299, 200]}}, "success"),
        ({"webhooks": {"timeout": 0}}, "timeout"),
        ({"webhooks": {"retry_after": [-1]}}, "retry_after"),
        ({"accounts": [{"country": "Atlantis"}]}, "Atlantis"),
        ({"accounts": [{"country": "US", "platform": "myspace"}]}, "tiktok, instagram"),
        ({"accounts": [{"country": "US", "count": 0}]}, "count"),
        ({"accounts": [{"country": "US", "state": "tepid"}]}, r"accounts\[0\]\.state|accounts\[\.\.\.\]\.state"),
        (["no", "mapping"], "object"),
    ],
)
def test_a_world_file_that_makes_no_sense_is_refused_in_words(document: Any, message: str) -> None:
    with pytest.raises(WorldFileError, match=message):
        read(document)


def test_a_world_file_may_leave_everything_out() -> None:
    assert read(None) == read({})
    assert read({}).accounts == ()
