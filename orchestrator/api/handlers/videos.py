"""Videos on their way to accounts."""

from __future__ import annotations

from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call, not_found
from orchestrator.api.handlers.filters import COUNTRY, PLATFORM, with_country_code
from orchestrator.api.operations import AS_OF, PAGING, Answer, Operation, Parameter
from orchestrator.api.problems import Problem
from orchestrator.api.queries import as_of
from orchestrator.api.queries.histories import video_history
from orchestrator.api.queries.videos import list_videos, video_item
from orchestrator.api.schemas import VIDEO_STATE, listing, ref

DEFAULT_WAIT = 30
LONGEST_WAIT = 60

FILTERS = (
    Parameter("state", "Its state.", VIDEO_STATE, example="failed"),
    COUNTRY,
    PLATFORM,
    Parameter("bundle_id", "The bundle that it is on.", {"type": "string"}, example="bdl_us_1"),
    Parameter("campaign_id", "The campaign that planned it.", {"type": "string"}),
    Parameter("ref", "What its campaign calls it.", {"type": "string"}),
    Parameter("error_code", "The code of its newest failure, on whichever account.", {"type": "string"}),
)


async def list_(call: Call) -> Response:
    moment, filters = call.as_of, with_country_code(call.without("as_of"))
    if moment is not None:
        return JsonResponse(await call.search_past(as_of.list_videos, moment, filters))
    return JsonResponse(await call.read(list_videos, **filters))


async def show(call: Call) -> Response:
    video_id, until, wait = call.path["id"], call.query["until"], call.query["wait"]
    moment = call.as_of
    if moment is not None and (until or wait is not None):
        raise Problem("bad-query", "The parameters until and wait are for what is to come: leave them out with as_of.")
    if moment is not None:
        item = await call.read(as_of.video_item, moment, video_id)
    elif until:
        # A video that is not known yet is waited for as well: the news of it may be on its way through the journal.
        item = await call.runtime.head.hold(
            lambda: call.read(video_item, video_id),
            lambda found: found is not None and found["state"] in until,
            DEFAULT_WAIT if wait is None else min(wait, LONGEST_WAIT),
        )
    elif wait is not None:
        raise Problem("bad-query", "The parameter wait needs until: which states to wait for.")
    else:
        item = await call.read(video_item, video_id)
    if item is None:
        raise not_found("video")
    return JsonResponse(item)


async def history(call: Call) -> Response:
    found = await call.read(video_history, call.path["id"], as_of=call.as_of, **call.without("as_of"))
    if found is None:
        raise not_found("video")
    return JsonResponse(found)


OPERATIONS = (
    Operation(
        "GET",
        "/api/videos",
        "listVideos",
        "Videos",
        "List videos",
        "Every video that was ever heard of, by its id. Country, platform and group are those of its bundle.",
        "viewer",
        list_,
        {200: Answer("A page of videos.", listing("Video"))},
        parameters=(*PAGING, AS_OF, *FILTERS),
    ),
    Operation(
        "GET",
        "/api/videos/{id}",
        "getVideo",
        "Videos",
        "One video",
        "What the video is, by all facts known. With `until` the answer is held until the video is in one of those "
        "states, or the wait is over; the answer then shows the state that it is in.",
        "viewer",
        show,
        {200: Answer("The video.", ref("Video"))},
        parameters=(
            AS_OF,
            Parameter(
                "until",
                "States to wait for, separated by commas.",
                {"type": "array", "items": VIDEO_STATE},
                example=["posted", "abandoned"],
            ),
            Parameter(
                "wait",
                f"Seconds to wait for them at most; {DEFAULT_WAIT} if not given, {LONGEST_WAIT} if more are asked for.",
                {"type": "number", "minimum": 0},
                example=60,
            ),
        ),
    ),
    Operation(
        "GET",
        "/api/videos/{id}/history",
        "getVideoHistory",
        "Videos",
        "A video's history",
        "The facts of the video in the order of the log.",
        "viewer",
        history,
        {200: Answer("A page of facts.", listing("HistoryItem"))},
        parameters=(*PAGING, AS_OF),
    ),
)
