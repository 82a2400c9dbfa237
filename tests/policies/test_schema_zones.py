"""The main zone of every country that an account can be in."""

from __future__ import annotations

from zoneinfo import available_timezones

import pytest

from orchestrator.domain.countries import ALPHA_2
from orchestrator.policies.zones import MAIN_ZONES, main_zone


def test_every_country_has_one_and_nothing_else_does() -> None:
    assert set(MAIN_ZONES) == ALPHA_2


def test_each_is_a_zone() -> None:
    assert set(MAIN_ZONES.values()) - available_timezones() == set()


@pytest.mark.parametrize(
    ("country", "zone"),
    [
        ("US", "America/New_York"),
        ("BR", "America/Sao_Paulo"),
        ("CA", "America/Toronto"),
        ("AU", "Australia/Sydney"),
        ("RU", "Europe/Moscow"),
        ("ID", "Asia/Jakarta"),
        ("MX", "America/Mexico_City"),
        ("ES", "Europe/Madrid"),
        ("PT", "Europe/Lisbon"),
        ("FR", "Europe/Paris"),
        ("NO", "Europe/Oslo"),
        ("KZ", "Asia/Almaty"),
    ],
)
def test_of_several_it_is_the_one_most_people_live_in(country: str, zone: str) -> None:
    assert main_zone(country) == zone


def test_what_is_no_country_has_none() -> None:
    with pytest.raises(KeyError):
        main_zone("XX")
