from __future__ import annotations

import warnings

import pytest


@pytest.fixture(scope="session", autouse=True)
def services() -> None:
    """The library loads everything that it knows at the first URL, and with it others' deprecated imports."""
    from apprise import Apprise

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        Apprise.instantiate("jsons://hooks.example.com")
