"""Parameters that several lists share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.api.operations import Parameter
from orchestrator.domain.countries import ALIASES, PLATFORMS

COUNTRY = Parameter(
    "country",
    "ISO 3166 alpha-2.",
    {"type": "string", "pattern": "^[A-Za-z]{2,3}$", "description": "a code of two letters, such as US"},
    example="US",
)
PLATFORM = Parameter("platform", "The platform.", {"type": "string", "enum": sorted(PLATFORMS)}, example="tiktok")


def with_country_code(query: Mapping[str, Any]) -> dict[str, Any]:
    """`query` with the country as the read models have it."""
    country = query.get("country")
    if country is None:
        return dict(query)
    return {**query, "country": ALIASES.get(country.upper(), country.upper())}
