"""The JSON Schema of `policies.yaml`, for editors; made from the same list that validates."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.countries import ALIASES, ALPHA_2, PLATFORMS
from orchestrator.policies.fields import ALERTS, FIELDS


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    level = _level()
    names: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
    country = {**level, "platforms": _object({name: _object(level) for name in sorted(PLATFORMS)})}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Policies of the campaign orchestrator",
        **_object(
            {
                "version": {"const": 1},
                "defaults": _object({**level, "alerts": _object(dict.fromkeys(("*", *ALERTS), names))}),
                "countries": {
                    "type": ["object", "null"],
                    "propertyNames": {"enum": sorted({*ALPHA_2, *ALIASES})},
                    "additionalProperties": _object(country),
                },
                "groups": {"type": ["object", "null"], "additionalProperties": names},
                "channels": {
                    "type": ["object", "null"],
                    "additionalProperties": {**_object({"url": {"type": "string"}}), "required": ["url"]},
                },
            }
        ),
    }


def _object(members: dict[str, Any]) -> dict[str, Any]:
    return {"type": ["object", "null"], "properties": members, "additionalProperties": False}


def _level() -> dict[str, Any]:
    root: dict[str, Any] = {}
    for name, field in FIELDS.items():
        *above, last = name.split(".")
        members = root
        for part in above:
            members = members.setdefault(part, _object({}))["properties"]
        members[last] = {**field.schema, "description": field.meaning}
    return root
