"""Where settings come from: environment variables, and a `.env` file behind them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dotenv.parser import Binding, parse_stream

from orchestrator.secrets import Secret

ENVIRONMENT: Final = "environment"
DOTENV: Final = ".env"
DEFAULT: Final = "default"


class Environment:
    """Variables by name. Any of them may be a secret, so they are given out as such, and `repr` shows none.

    A variable that is blank counts as not set, and in the environment it hides the one in the file all the same.
    """

    def __init__(self, environ: Mapping[str, str], dotenv: Mapping[str, str], warnings: tuple[str, ...] = ()) -> None:
        self._environ = dict(environ)
        self._dotenv = dict(dotenv)
        self.warnings = warnings

    @classmethod
    def read(cls, environ: Mapping[str, str], folder: Path) -> Environment:
        """`environ`, and the file `.env` in `folder` if there is one.

        `${NAME}` in the file is not expanded: that would change a secret which happens to hold these characters.

        Raises:
            ValueError: the file cannot be read; names the line and says what would be right, and shows no values.
        """
        path = folder / DOTENV
        # A folder of this name is somebody's virtual environment.
        if not path.is_file():
            return cls(environ, {})
        try:
            text = path.read_text("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not UTF-8: save it as such") from None
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}, so make it readable or remove it") from None
        values: dict[str, str] = {}
        warnings = []
        for binding in parse_stream(io.StringIO(text)):
            line = _line_of(binding)
            if binding.error:
                raise ValueError(f"{path}, line {line} cannot be read: write NAME=value, or NAME='value' with spaces")
            if binding.key is None:
                continue
            if binding.value is None:
                warnings.append(f"{DOTENV}, line {line}: {binding.key} has no value and is left out")
                continue
            if "${" in binding.value:
                warnings.append(f"{DOTENV}, line {line}: ${{…}} in {binding.key} is taken as it is, not expanded")
            values[binding.key] = binding.value
        return cls(environ, values, tuple(warnings))

    @property
    def names(self) -> frozenset[str]:
        """The names of all variables, blank ones too."""
        return frozenset(self._environ) | frozenset(self._dotenv)

    def get(self, name: str) -> Secret | None:
        """The variable without white space around it; None where it is not set, or blank."""
        text = self._environ.get(name, self._dotenv.get(name, "")).strip()
        return Secret(text) if text else None

    def source(self, name: str) -> str:
        """Where `get` finds the variable: `ENVIRONMENT`, `DOTENV`, or `DEFAULT` where it does not."""
        if self.get(name) is None:
            return DEFAULT
        return ENVIRONMENT if name in self._environ else DOTENV

    def __repr__(self) -> str:
        return f"Environment({len(self.names)} variables)"


def _line_of(binding: Binding) -> int:
    """The line that a binding stands on; the parser counts from the blank lines before it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
