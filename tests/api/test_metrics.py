from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from orchestrator.api.metrics import WEBHOOKS
from orchestrator.database.tables import bundles, outbox
from tests.api.house import House, bundle_row, webhook


def scrape(house: House) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = house.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_figures(house: House) -> None:
    house.tell(webhook("bundle.created"), webhook("bundle.teleported"))
    house.insert(bundles, bundle_row("bdl_1"), bundle_row("bdl_2", state="banned"), bundle_row("bdl_3", state="banned"))
    house.projected(bundles=1, videos=2)
    WEBHOOKS.labels("default", "accepted").inc()
    figures = scrape(house)
    assert figures["orchestrator_database_readable", ()] == 1
    assert figures["orchestrator_log_head", ()] == 2
    assert figures["orchestrator_projection_lag", ("bundles",)] == 1
    assert figures["orchestrator_projection_lag", ("videos",)] == 0
    assert figures["orchestrator_messages", ("applied",)] == 1
    assert figures["orchestrator_messages", ("unrecognised",)] == 1
    assert figures["orchestrator_messages", ("quarantined",)] == 0
    assert figures["orchestrator_messages_pending", ()] == 0
    assert figures["orchestrator_bundles", ("banned",)] == 2
    assert figures["orchestrator_alerts_untold", ()] == 0
    assert figures["orchestrator_journal_queue", ()] == 0
    assert figures["orchestrator_webhooks_total", ("default", "accepted")] >= 1
    assert figures["process_resident_memory_bytes", ()] > 0


def test_alerts_that_a_channel_did_not_take(house: House) -> None:
    row = {
        "kind": "alert",
        "body": "{}",
        "attempts": 1,
        "not_before": 0,
        "created_at": 0,
        "message_id": "msg_1",
        "urgency": 1,
    }
    house.insert(
        outbox,
        row | {"command_id": "cmd_1", "seq": 1, "status": "pending", "last_error": "ops: json://***: error 500"},
        row | {"command_id": "cmd_2", "seq": 2, "status": "pending", "last_error": None},
        row | {"command_id": "cmd_3", "seq": 3, "status": "done", "last_error": None},
    )
    assert scrape(house)["orchestrator_alerts_untold", ()] == 1
