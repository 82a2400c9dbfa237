"""The JSON Schema for editors: made from the list that validates, and of the same mind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from orchestrator.documents import Refused
from orchestrator.policies.fields import FIELDS
from orchestrator.policies.json_schema import json_schema
from orchestrator.policies.schema import parse

CONFIG = Path(__file__).parents[2] / "config"
EDITOR = jsonschema_rs.Draft202012Validator(json_schema())


def test_the_file_is_what_the_program_makes_of_its_list() -> None:
    written = json.loads((CONFIG / "policies.schema.json").read_text(encoding="utf-8"))
    assert written == json_schema(), "run: python -m orchestrator.policies.json_schema > config/policies.schema.json"


def test_it_is_a_json_schema() -> None:
    jsonschema_rs.meta.validate(json_schema())


def test_the_shipped_file_is_right_in_an_editor() -> None:
    # PyYAML reads YAML 1.1, in which the shipped file happens to mean the same.
    EDITOR.validate(yaml.safe_load((CONFIG / "policies.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", FIELDS)
def test_every_key_is_explained_with_its_default(name: str) -> None:
    found: dict[str, Any] = json_schema()["$defs"]
    *above, last = name.split(".")
    for part in above:
        found = found[part]["properties"]
    key = found[last]
    assert key["description"] == FIELDS[name].meaning
    jsonschema_rs.validate(key, key["default"])


RIGHT: list[Any] = [
    None,
    {},
    {"version": 1, "defaults": None, "countries": {}, "groups": None},
    {"countries": {"NO": {"platforms": {"tiktok": {"posting": {"per_day": 1}}}}, "USA": None}},
    {"defaults": {"warming": {"terms": ["a1", "b2", "c3"], "mode": "none", "start": "manual", "retries": 0}}},
    {"defaults": {"warming": {"terms": []}}},
    {"defaults": {"posting": {"postable": ["ready"], "days": ["mon"], "ramp": [0, 3], "lead_days": {"new": 3}}}},
    {"defaults": {"posting": {"blackout": ["2026-12-24", "2026-12-24..2026-12-26"], "timezone": "Europe/Oslo"}}},
    {"defaults": {"failure": {"codes": {"rate_*": "retry"}, "backoff": ["5m", "0s"], "missed_after": "2w"}}},
    {"defaults": {"failure": {"stuck_after": {"uploading": "90m"}}, "ban": {"breaker": {"within": "1s"}}}},
    {"defaults": {"reroute": {"backups": ["bdl_1"], "reserve": True, "choose": "listed_order", "max": 0}}},
    {"defaults": {"budget": {"credits_per_day": 1000000, "approve_above": 0}}},
    {"defaults": {"alerts": {"*": ["ops"], "banned": []}}, "channels": {"ops": {"url": "env:OPS_ALERT_URL"}}},
    {"groups": {"acme": ["bdl_1"], "other": []}, "channels": {"ops": {"url": "slack://a/b/c"}}},
]
WRONG: list[Any] = [
    [],
    "text",
    {"version": 2},
    {"version": "1"},
    {"defalts": {}},
    {"defaults": {"platforms": {}}},
    {"defaults": {"warming": {"mode": "fast"}}},
    {"defaults": {"warming": {"terms": ["a1", "b2"]}}},
    {"defaults": {"warming": {"terms": ["a1", "b2", "b2"]}}},
    {"defaults": {"warming": {"terms": ["a", "b2", "c3"]}}},
    {"defaults": {"warming": {"terms": [f"term {n}" for n in range(33)]}}},
    {"defaults": {"warming": {"retries": -1}}},
    {"defaults": {"posting": {"per_day": 4}}},
    {"defaults": {"posting": {"per_day": "2"}}},
    {"defaults": {"posting": {"postable": []}}},
    {"defaults": {"posting": {"postable": ["banned"]}}},
    {"defaults": {"posting": {"days": ["monday"]}}},
    {"defaults": {"posting": {"blackout": ["24.12.2026"]}}},
    {"defaults": {"posting": {"lead_days": {"old": 1}}}},
    {"defaults": {"failure": {"codes": {"*": "ignore"}}}},
    {"defaults": {"failure": {"backoff": ["5 minutes"]}}},
    {"defaults": {"failure": {"stuck_after": {"uploading": "0h"}}}},
    {"defaults": {"reroute": {"backups": "bdl_1"}}},
    {"defaults": {"reroute": {"backups": ["bdl_1", "bdl_1"]}}},
    {"defaults": {"reroute": {"enabled": "yes"}}},
    {"defaults": {"ban": {"then": "retry"}}},
    {"defaults": {"budget": {"credits_per_day": -1}}},
    {"defaults": {"alerts": {"band": []}}},
    {"countries": {"XX": {}}},
    {"countries": {"US": {"alerts": {}}}},
    {"countries": {"US": {"platforms": {"youtube": {}}}}},
    {"groups": {"default": ["bdl_1"]}},
    {"groups": {"acme": "bdl_1"}},
    {"channels": {"ops": {}}},
    {"channels": {"ops": None}},
    {"channels": {"ops": {"url": "OPS_ALERT_URL"}}},
]


@pytest.mark.parametrize("document", RIGHT, ids=json.dumps)
def test_what_the_program_takes_an_editor_takes(document: Any) -> None:
    parse(json.dumps(document))
    assert EDITOR.is_valid(document)


@pytest.mark.parametrize("document", WRONG, ids=json.dumps)
def test_what_the_program_refuses_an_editor_marks(document: Any) -> None:
    with pytest.raises(Refused):
        parse(json.dumps(document))
    assert not EDITOR.is_valid(document)
