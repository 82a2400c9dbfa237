"""Images that TokPortal fetches and keeps. The sandbox fetches nothing: it names the place where it would keep them."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.rest.call import Answer, Call, invalid


class _FromUrl(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    bundle_id: str
    purpose: Literal["carousel", "profile_picture"] = "carousel"


def image_from_url(call: Call) -> Answer:
    wanted = call.read(_FromUrl)
    if call.world.bundle(wanted.bundle_id) is None:
        raise Refusal(404, "BUNDLE_NOT_FOUND", f"There is no bundle {wanted.bundle_id}.")
    if urlsplit(wanted.url).scheme not in {"http", "https"}:
        raise invalid("url must be an http or https address", field="url")
    name = sha256(wanted.url.encode()).hexdigest()[:32]
    call.took_effect(bundle_id=wanted.bundle_id)
    return Answer({"storage_path": f"{wanted.bundle_id}/{wanted.purpose}/{name}"}, status=201)
