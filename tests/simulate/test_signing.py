from __future__ import annotations

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st
from tokportal import verify_webhook_signature

from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.signing import sign

NOW = 1795194000.9
secrets = st.text(min_size=1).filter(lambda text: text.isprintable())


@given(body=st.binary(), secret=secrets)
def test_the_vendors_own_check_accepts_the_public_signature(body: bytes, secret: str) -> None:
    header = dict(sign(Dialect.PUBLIC, secret, body, NOW))["TokPortal-Signature"]
    assert verify_webhook_signature(body, header, secret, now=int(NOW))
    assert not verify_webhook_signature(body + b" ", header, secret, now=int(NOW))
    assert not verify_webhook_signature(body, header, secret + "x", now=int(NOW))
    assert not verify_webhook_signature(body, header, secret, now=int(NOW) + 301)


@given(body=st.binary(), secret=secrets)
def test_the_article_signature_is_an_hmac_of_the_body(body: bytes, secret: str) -> None:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    assert sign(Dialect.ARTICLE, secret, body, NOW) == [("X-TokPortal-Signature", f"sha256={digest}")]


def test_the_public_dialect_repeats_id_and_type_in_headers() -> None:
    headers = dict(sign(Dialect.PUBLIC, "s", b'{"id":"evt_1","type":"webhook.test","data":{}}', NOW))
    assert headers["TokPortal-Event-Id"] == "evt_1"
    assert headers["TokPortal-Event-Type"] == "webhook.test"


def test_a_body_that_cannot_be_read_is_signed_all_the_same() -> None:
    for body in (b"", b"[]", b'{"id":7}', b"\xff", b"{}"):
        assert [name for name, _ in sign(Dialect.PUBLIC, "s", body, NOW)] == ["TokPortal-Signature"]
