from __future__ import annotations

import hmac

import msgspec

from orchestrator.simulate.dialect import Dialect


class _Head(msgspec.Struct, gc=False):
    id: str = ""
    type: str = ""


_head = msgspec.json.Decoder(_Head)


def sign(dialect: Dialect, secret: str, body: bytes, now: float) -> list[tuple[str, str]]:
    """The headers TokPortal puts beside `body`.

    `now` is Unix time in seconds; only the public dialect signs it, as whole seconds. The key is the secret's UTF-8
    text as given, without a base64 step or a prefix cut off (vendor SDK `tokportal` 0.1.0, `verify_webhook_signature`).
    The public dialect names event id and type again in unsigned headers; a body that shows neither gets no such header.
    """
    key = secret.encode()
    if dialect is Dialect.ARTICLE:
        return [("X-TokPortal-Signature", f"sha256={hmac.digest(key, body, 'sha256').hex()}")]
    stamp = str(int(now))
    digest = hmac.digest(key, stamp.encode() + b"." + body, "sha256").hex()
    headers = [("TokPortal-Signature", f"t={stamp},v1={digest}")]
    try:
        head = _head.decode(body)
    except msgspec.DecodeError:
        return headers
    if head.id:
        headers.append(("TokPortal-Event-Id", head.id))
    if head.type:
        headers.append(("TokPortal-Event-Type", head.type))
    return headers
