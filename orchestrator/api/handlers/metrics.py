"""Figures for Prometheus."""

from __future__ import annotations

from starlette.responses import Response

from orchestrator.api.call import Call
from orchestrator.api.operations import Answer, Operation
from orchestrator.api.problems import Problem

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def show(call: Call) -> Response:
    runtime = call.runtime
    try:
        stored = await call.read(runtime.metrics.stored)
    except Problem:
        # A scrape that fails shows nothing; one that says that the database is out of reach can raise an alarm.
        stored = None
    return Response(runtime.metrics.text(stored, runtime.streams), headers={"Content-Type": MEDIA_TYPE})


OPERATIONS = (
    Operation(
        "GET",
        "/metrics",
        "getMetrics",
        "Health",
        "Figures for Prometheus",
        "Webhooks by outcome, queues, lags, counts by state and the process itself, in Prometheus' text format.",
        "viewer",
        show,
        {200: Answer("The figures.", {"type": "string"}, media_type="text/plain")},
    ),
)
