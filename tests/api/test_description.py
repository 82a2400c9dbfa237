from __future__ import annotations

import re
import shlex
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema_rs import validator_for
from schemathesis.checks import CHECKS, load_all_checks

from orchestrator.api.app import OPERATIONS
from orchestrator.api.openapi import document
from orchestrator.api.schemas import EXAMPLES
from orchestrator.database.tables import bundles, countries, videos
from tests.api.house import House, bearer, bundle_row, country_row, video_row, webhook

DOCUMENT = document(OPERATIONS, "1.2.3")


def test_every_operation_is_described_with_what_it_takes_and_answers() -> None:
    shown = [operation for operation in OPERATIONS if operation.shown]
    assert {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods} == {
        (operation.path, operation.method.lower()) for operation in shown
    }
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    for operation in shown:
        assert operation.summary
        assert operation.description.endswith(".")
        described = DOCUMENT["paths"][operation.path][operation.method.lower()]
        assert ("401" in described["responses"]) == (operation.role is not None)
        assert described["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}


def test_every_reference_leads_somewhere() -> None:
    for reference in re.findall(r"'\$ref': '#/([^']*)'", repr(DOCUMENT)):
        found: Any = DOCUMENT
        for part in reference.split("/"):
            found = found[part]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_one(name: str) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    validator_for(schema).validate(EXAMPLES[name])


def test_the_examples_of_operations_are_some() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    if "example" in content:
                        schema = {**content["schema"], "components": DOCUMENT["components"]}
                        validator_for(schema).validate(content["example"]), (path, method)
            for parameter in operation.get("parameters", ()):
                if "example" in parameter:
                    validator_for(parameter["schema"]).validate(parameter["example"])


class Page(HTMLParser):
    """What a page refers to, and whether its elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "wbr"):
            self.open.append(tag)
        given = dict(attrs)
        self.scripts += tag == "script" or any(name.startswith("on") or name == "style" for name in given)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name in ("href", "src") and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_shows_everything_by_itself(house: House) -> None:
    answer = house.client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
    )
    page = Page()
    page.feed(answer.text)
    assert page.open == []
    assert page.scripts == 0
    assert len(set(page.ids)) == len(page.ids)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif link != "data:,":
            assert house.client.get(link).status_code == 200
    for operation in OPERATIONS:
        if operation.shown:
            assert operation.name in page.ids
    assert house.client.get("/docs/docs.css").headers["content-type"].startswith("text/css")


def test_the_lines_to_copy_are_right(guarded: House) -> None:
    page = guarded.client.get("/docs", headers=bearer("viewer")).text
    lines = [unescape(line) for line in re.findall(r'<pre class="line"><code>(.*?)</code>', page)]
    assert len(lines) == sum(operation.shown for operation in OPERATIONS)
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "curl"
        if "-N" in words:
            continue
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        headers = [words[index + 1].split(": ", 1) for index, word in enumerate(words) if word == "-H"]
        given = {name: value for name, value in headers if name not in ("Prefer", "Authorization")}
        body = words[words.index("-d") + 1] if "-d" in words else None
        address = words[-1].replace("wait=60", "wait=0")
        answer = guarded.client.request(method, address, headers=given | bearer("admin"), content=body)
        assert answer.status_code in (200, 202, 404) or "/health/" in words[-1], line


@pytest.fixture
def furnished(house: House) -> House:
    house.tell(webhook("bundle.created"), webhook("video.posted", data={"video_id": "vid_1"}), webhook("what"))
    house.insert(bundles, bundle_row("bdl_1"))
    house.insert(videos, video_row("vid_1"))
    house.insert(countries, country_row("US", "tiktok", "bundles", "completed", 1))
    return house


load_all_checks()
CHECKED = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
]
FUZZED = [
    operation.name
    for operation in OPERATIONS
    if operation.shown and operation.name not in ("streamEvents", "isReady", "isWorking", "getVideo")
]


def test_answers_keep_to_their_description(furnished: House) -> None:
    schema = schemathesis.openapi.from_dict(furnished.client.get("/openapi.json").json())
    schema.config.update(base_url=str(furnished.client.base_url))
    schema.validate()
    for result in schema.include(operation_id=FUZZED).get_all_operations():
        check_operation(result.ok())


def check_operation(operation: Any) -> None:
    @given(case=operation.as_strategy())
    @settings(
        max_examples=15,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def fuzz(case: Any) -> None:
        case.headers.pop("Prefer", None)  # Nobody is there to apply a command, and so to end the wait.
        case.call_and_validate(checks=CHECKED)

    fuzz()


def test_the_items_keep_to_their_description(furnished: House) -> None:
    message_id = furnished.get("/api/messages")["items"][0]["message_id"]
    for path, name in {
        "/api/bundles/bdl_1": "Bundle",
        "/api/videos/vid_1": "Video",
        f"/api/messages/{message_id}": "Message",
        "/health/live": "Health",
    }.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
        validator_for(schema).validate(furnished.get(path))
