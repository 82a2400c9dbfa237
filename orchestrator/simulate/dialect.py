from __future__ import annotations

from enum import StrEnum


class Dialect(StrEnum):
    """How TokPortal words and signs a webhook.

    ``Dialect("public")`` is accepted as another name of the public API's version.
    """

    ARTICLE = "article"
    PUBLIC = "2026-05-25"

    @classmethod
    def _missing_(cls, value: object) -> Dialect | None:
        return cls.PUBLIC if value == "public" else None
