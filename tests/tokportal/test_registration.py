from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.secrets import store_webhook_secret, stored_secrets
from orchestrator.tokportal.registration import Registrar, RegistrationError, endpoint_url
from tests.tokportal.fake import Asked, Fake, no

URL = "https://hooks.example.com/webhooks/tokportal"
LIST, CREATE, EVENTS = "GET /webhooks", "POST /webhooks", "GET /webhooks/events"
KNOWN = {"data": {"events": [{"type": "account.banned"}, {"type": "video.finalized"}]}}


class Vendor:
    """TokPortal's endpoints; `creates`: what befalls the next registrations."""

    def __init__(self, *creates: Any) -> None:
        self.rows: list[dict[str, Any]] = []
        self.creates = list(creates)
        self.fake = Fake({LIST: self._list, CREATE: self._create, EVENTS: KNOWN})

    def _list(self, asked: Asked) -> Any:
        page = int(asked.query["page"][0])
        total = len(self.rows)
        return {"data": self.rows[page - 1 : page], "pagination": {"page": page, "total_pages": total, "total": total}}

    def _create(self, asked: Asked) -> Any:
        said = self.creates.pop(0) if self.creates else None
        if isinstance(said, tuple):
            return said
        name = f"wh_{len(self.rows) + 1}"
        self.rows.append({"id": name, **asked.body})
        self.fake.answers[f"DELETE /webhooks/{name}"] = lambda _: self._delete(name)
        return said or {"data": {"id": name, "signing_secret": f"secret of {name}", **asked.body}}

    def _delete(self, name: str) -> Any:
        self.rows = [row for row in self.rows if row["id"] != name]
        return 204, ""


def test_a_new_endpoint(tmp_path: Path) -> None:
    vendor = Vendor()
    endpoint, is_new = Registrar(vendor.fake.client(), tmp_path).register(URL, [])
    assert is_new
    assert vendor.fake.asked[-1].body == {
        "url": URL,
        "events": ["account.banned", "video.finalized"],
        "description": "campaign orchestrator",
        "enabled": True,
    }
    assert vendor.fake.asked[-1].key is None, "TokPortal refuses a key here"
    assert [secret.reveal() for secret in stored_secrets(tmp_path)] == ["secret of wh_1"]
    assert "secret of" not in repr(endpoint) + repr(endpoint.told())


@pytest.mark.parametrize("lost", [httpx2.ReadTimeout("slow"), {"data": {}}, {"data": {"id": "wh_1"}}])
def test_a_lost_registration_is_replaced(tmp_path: Path, lost: Any) -> None:
    """Nobody can ever read the secret of the one whose answer was lost."""
    vendor = Vendor(lost)
    endpoint, _ = Registrar(vendor.fake.client(), tmp_path).register(URL, ["account.banned"])
    assert [row["id"] for row in vendor.rows] == [endpoint.endpoint_id]
    assert len(stored_secrets(tmp_path)) == 1
    assert vendor.fake.whats()[2:] == [CREATE, LIST, "DELETE /webhooks/wh_1", CREATE]


def test_a_registration_that_is_lost_twice(tmp_path: Path) -> None:
    vendor = Vendor(httpx2.ReadTimeout("slow"), httpx2.ReadTimeout("slow"))
    with pytest.raises(RegistrationError, match="lost twice"):
        Registrar(vendor.fake.client(), tmp_path).register(URL, [])


def test_one_that_never_took_effect_leaves_the_others_alone(tmp_path: Path) -> None:
    vendor = Vendor((500, ""))
    vendor.rows = [{"id": "theirs", "url": URL}]
    endpoint, _ = Registrar(vendor.fake.client(), tmp_path).register(URL, [], another=True)
    assert [row["id"] for row in vendor.rows] == ["theirs", endpoint.endpoint_id]


def test_an_endpoint_that_is_there(tmp_path: Path) -> None:
    vendor = Vendor()
    vendor.rows = [
        {"id": "theirs", "url": "https://elsewhere.example.com/"},
        {"id": "wh_9", "url": URL, "enabled": False},
    ]
    registrar = Registrar(vendor.fake.client(), tmp_path)
    with pytest.raises(RegistrationError, match=r"wh_9 for .*shown only once"):
        registrar.register(URL, [])
    store_webhook_secret(tmp_path, "wh_9", "known")
    endpoint, is_new = registrar.register(URL, [])
    assert (endpoint.endpoint_id, endpoint.enabled, is_new) == ("wh_9", False, False)
    assert CREATE not in vendor.fake.whats()


def test_events_that_tokportal_does_not_send(tmp_path: Path) -> None:
    registrar = Registrar(Vendor().fake.client(), tmp_path)
    with pytest.raises(RegistrationError, match=r"did you mean account.banned"):
        registrar.register(URL, ["account.baned"])
    with pytest.raises(RegistrationError, match=r"it sends account.banned, video.finalized"):
        registrar.register(URL, ["x"])


def test_refusals(tmp_path: Path) -> None:
    vendor = Vendor(no(422, "WEBHOOK_URL_INVALID", "no HTTPS"))
    with pytest.raises(RegistrationError, match=r"did not register .* WEBHOOK_URL_INVALID: no HTTPS"):
        Registrar(vendor.fake.client(), tmp_path).register(URL, [])
    for said in ((503, ""), no(403, "X"), httpx2.ConnectError("down")):
        with pytest.raises(RegistrationError, match="cannot be listed"):
            Registrar(Fake({LIST: said}).client(), tmp_path).endpoints()
    with pytest.raises(RegistrationError, match="cannot be tried"):
        Registrar(Fake({"POST /webhooks/w/test": no(404, "X")}).client(), tmp_path).test("w")


def test_a_secret_goes_only_once_tokportal_has_let_go(tmp_path: Path) -> None:
    store_webhook_secret(tmp_path, "wh_1", "known")
    row = {"data": [{"id": "wh_1", "url": URL}]}

    def delete(said: Any, listed: Any = row) -> bool:
        fake = Fake({"DELETE /webhooks/wh_1": said, LIST: listed})
        return Registrar(fake.client(), tmp_path).delete("wh_1")

    for said in (no(403, "X"), httpx2.ConnectError("down"), (500, "")):
        with pytest.raises(RegistrationError, match="not deleted"):
            delete(said)
        assert len(stored_secrets(tmp_path)) == 1
    assert delete((500, ""), {"data": []}), "it was deleted, and the answer lost"
    assert stored_secrets(tmp_path) == []
    assert not delete((204, ""))
    with pytest.raises(RegistrationError, match="has no endpoint wh_1"):
        delete(no(404, "X"))
    store_webhook_secret(tmp_path, "wh_1", "known")
    assert delete(no(404, "X")), "somebody else deleted it"


@pytest.mark.parametrize(
    ("given", "public", "base", "url"),
    [
        (None, "https://h.example.com", "https://t.example.com", "https://h.example.com/webhooks/tokportal"),
        (None, "https://h.example.com/in/", "https://t.example.com", "https://h.example.com/in/webhooks/tokportal"),
        ("https://x.example.com/y", "https://h.example.com", "https://t.example.com", "https://x.example.com/y"),
        (None, "http://127.0.0.1:8080", "http://127.0.0.1:8090", "http://127.0.0.1:8080/webhooks/tokportal"),
        (None, "http://localhost:8080", "http://[::1]:8090", "http://localhost:8080/webhooks/tokportal"),
    ],
)
def test_addresses(given: str | None, public: str | None, base: str, url: str) -> None:
    assert endpoint_url(given, public, base) == url


ADDRESSES_THAT_WILL_NOT_DO = [
    (None, None, "https://t.example.com", "ORCHESTRATOR_PUBLIC_URL is not set"),
    (None, "http://h.example.com", "https://t.example.com", "HTTPS only"),
    (None, "http://127.0.0.1:8080", "https://t.example.com", "HTTPS only"),
    ("http://h.example.com/", None, "http://127.0.0.1:8090", "HTTPS only"),
    ("ftp://h.example.com/", None, "https://t.example.com", "no address"),
    ("https://u:p@h.example.com/", None, "https://t.example.com", "no address"),
    ("https://h.example.com:x/", None, "https://t.example.com", "no address"),
    ("hooks", None, "https://t.example.com", "no address"),
    ("https://h.example.com/webhooks/tokportal/videos", None, "https://t.example.com", "secrets of its own"),
]


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(RegistrationError) as told:
        endpoint_url("https://ann:canary@h.example.com/", None, "https://t.example.com")
    assert "canary" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "public", "base", "problem"),
    ADDRESSES_THAT_WILL_NOT_DO,
)
def test_addresses_that_will_not_do(given: str | None, public: str | None, base: str, problem: str) -> None:
    with pytest.raises(RegistrationError, match=problem):
        endpoint_url(given, public, base)
