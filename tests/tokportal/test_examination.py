"""What the doctor says of TokPortal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.dialects.public import EVENTS
from orchestrator.secrets import Secret
from orchestrator.settings import Settings
from orchestrator.tokportal.examination import examine_tokportal
from tests.tokportal.fake import KEY, Fake, listed, no

ME, CREDITS, CATALOGUE, ENDPOINTS = "GET /me", "GET /credits/balance", "GET /webhooks/events", "GET /webhooks"
DELIVERIES = "GET /webhooks/wh_1/deliveries"
URL = "https://hooks.example.com/webhooks/tokportal"


def me(skew: float = 0, **headers: str) -> Any:
    date = format_datetime(datetime.now(UTC) - timedelta(seconds=skew), usegmt=True)
    return 200, {"data": {}}, {"Date": date, "X-RateLimit-Limit": "120", "X-RateLimit-Remaining": "119", **headers}


def well() -> dict[str, Any]:
    return {
        ME: me(),
        CREDITS: {"data": {"total_credits": 500, "expiring_within_7_days": 0}},
        CATALOGUE: {"data": {"events": [{"type": name} for name in EVENTS]}},
        ENDPOINTS: listed({"id": "wh_1", "url": URL, "enabled": True}),
        DELIVERIES: listed(),
    }


def look(
    tmp_path: Path, *, mode: str = "live", public: str | None = "https://hooks.example.com", **answers: Any
) -> dict[str, tuple[str, str]]:
    names = {"me": ME, "credits": CREDITS, "catalogue": CATALOGUE, "endpoints": ENDPOINTS, "deliveries": DELIVERIES}
    fake = Fake(well() | {names[name]: said for name, said in answers.items()})
    environment = {"ORCHESTRATOR_MODE": mode, "TOKPORTAL_API_KEY": KEY}
    if public is not None:
        environment["ORCHESTRATOR_PUBLIC_URL"] = public
    found = {
        what: (str(level), detail)
        for level, what, detail in examine_tokportal(Settings.load(environment, tmp_path), Secret(KEY), fake.client())
    }
    assert KEY not in repr(found)
    assert all(asked.method == "GET" for asked in fake.asked)
    return found


def test_all_is_well(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert {level for level, _ in found.values()} == {"ok"}
    assert list(found) == ["TokPortal's key", "clock", "quota", "credits", "contract", "webhook registration"]
    assert found["quota"][1] == "119 requests left of 120"
    assert "none sent yet" in found["webhook registration"][1]


def test_without_a_network_one_sentence_says_so(tmp_path: Path) -> None:
    found = look(tmp_path, me=httpx2.ConnectError("Name or service not known"))
    assert list(found) == ["TokPortal"]
    level, detail = found["TokPortal"]
    assert level == "warning"
    assert detail.endswith("key, credits, clock and webhook registration were not looked at")


@pytest.mark.parametrize(("said", "what"), [(no(401, "AUTH_REVOKED_KEY"), "TokPortal's key"), ((503, ""), "TokPortal")])
def test_a_key_that_does_not_work(tmp_path: Path, said: Any, what: str) -> None:
    found = look(tmp_path, me=said)
    assert list(found) == [what]
    assert found[what][0] == "error"


@pytest.mark.parametrize(("skew", "level"), [(0, "ok"), (-30, "ok"), (90, "warning"), (-400, "error"), (400, "error")])
def test_clock(tmp_path: Path, skew: float, level: str) -> None:
    assert look(tmp_path, me=me(skew))["clock"][0] == level


def test_answers_without_time_or_quota(tmp_path: Path) -> None:
    found = look(tmp_path, me={"data": {}})
    assert found["clock"] == ("ok", "TokPortal's answer has no time to compare with")
    assert found["quota"] == ("ok", "TokPortal's answer does not show it")


@pytest.mark.parametrize(
    ("data", "level", "detail"),
    [
        ({"total_credits": 0}, "warning", "none"),
        ({"total_credits": 9, "expiring_within_7_days": 4}, "warning", "9, of which 4 expire"),
        ({"total_credits": 9}, "ok", "9"),
        ({}, "warning", "does not show"),
    ],
)
def test_credits(tmp_path: Path, data: dict[str, int], level: str, detail: str) -> None:
    found = look(tmp_path, credits={"data": data})["credits"]
    assert found[0] == level
    assert detail in found[1]


def test_a_contract_that_has_drifted(tmp_path: Path) -> None:
    names = [name for name in EVENTS if name != "video.ai_labeled"]
    level, detail = look(tmp_path, catalogue=listed(*({"type": name} for name in names)))["contract"]
    assert (level, detail) == (
        "ok",
        f"it lists {len(names)} types of events; known here and not listed: video.ai_labeled",
    )
    level, detail = look(tmp_path, catalogue=listed({"type": "video.sold"}, {"type": "webhook.test"}))["contract"]
    assert level == "warning"
    assert "not known here, and kept as unrecognised: video.sold" in detail
    assert look(tmp_path, catalogue={"data": {}})["contract"][0] == "warning"


@pytest.mark.parametrize(("mode", "bad"), [("live", "error"), ("observe", "warning")])
def test_webhooks_that_do_not_arrive(tmp_path: Path, mode: str, bad: str) -> None:
    def found(**answers: Any) -> tuple[str, str]:
        return look(tmp_path, mode=mode, **answers)["webhook registration"]

    assert found(public=None)[0] == bad
    level, detail = found(
        endpoints=listed({"id": "x", "url": "https://hooks.example.com.evil.test/webhooks/tokportal"})
    )
    assert level == bad and "orchestrator webhooks register" in detail
    level, detail = found(endpoints=listed({"id": "wh_1", "url": URL, "enabled": False}))
    assert level == bad and "switched off" in detail
    failed = [{"id": str(n), "success": False, "created_at": f"2026-12-01T00:0{n}:00Z"} for n in range(3)]
    level, detail = found(deliveries=listed(*failed))
    assert level == bad and "none of its last 3 deliveries arrived" in detail
    arrived = {"id": "9", "success": True, "created_at": "2026-12-02T00:00:00Z"}
    assert found(deliveries=listed(*failed, arrived))[0] == "warning"
    old = [{**failed[0], "created_at": "2026-11-01T00:00:00Z"} for _ in range(5)]
    recent = [{**arrived, "created_at": f"2026-12-02T00:0{n}:00Z"} for n in range(10)]
    assert found(deliveries=listed(*old, *recent)) == ("ok", f"wh_1 at {URL}, 10 deliveries arrived")


def test_what_cannot_be_looked_at_is_said(tmp_path: Path) -> None:
    found = look(tmp_path, credits=(503, ""), endpoints=no(403, "FORBIDDEN"))
    assert found["TokPortal"][0] == "error"
    assert found["contract"][0] == "ok"
