"""The JSON Schema of `policies.yaml`, for editors; made from the same list that validates.

`python -m orchestrator.policies.json_schema > config/policies.schema.json` writes it again.
"""

from __future__ import annotations

import json
from typing import Any

from orchestrator.domain.countries import ALIASES, ALPHA_2, PLATFORMS
from orchestrator.policies.fields import ALERTS, FIELDS, SECTIONS, URL, WORDS, written


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12. What several keys say together it leaves to the program."""
    sections = {name: {"$ref": f"#/$defs/{name}"} for name in SECTIONS}
    alerts = {**_object(dict.fromkeys(("*", *ALERTS), WORDS)), "description": "Which channels are told of what."}
    platforms = {name: {"$ref": "#/$defs/level"} for name in sorted(PLATFORMS)}
    channel = _object({"url": {"type": "string", "maxLength": 2000, "pattern": f"^({URL})$"}})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Policies of the campaign orchestrator",
        **_object(
            {
                "version": {"const": 1},
                "defaults": _object({**sections, "alerts": alerts}),
                "countries": {
                    "type": ["object", "null"],
                    "propertyNames": {"enum": sorted({*ALPHA_2, *ALIASES})},
                    "additionalProperties": _object({**sections, "platforms": _object(platforms)}),
                },
                "groups": {
                    "type": ["object", "null"],
                    "propertyNames": {"not": {"const": "default"}, "maxLength": 120},
                    "additionalProperties": WORDS,
                },
                "channels": {
                    "type": ["object", "null"],
                    "additionalProperties": {**channel, "type": "object", "required": ["url"]},
                },
            }
        ),
        "$defs": {"level": _object(sections), **_sections()},
    }


def _object(members: dict[str, Any]) -> dict[str, Any]:
    return {"type": ["object", "null"], "properties": members, "additionalProperties": False}


def _sections() -> dict[str, Any]:
    root: dict[str, Any] = {}
    for name, field in FIELDS.items():
        *above, last = name.split(".")
        members = root
        for part in above:
            members = members.setdefault(part, _object({}))["properties"]
        members[last] = {**field.schema, "description": field.meaning, "default": written(field.default)}
    return root


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1))
