from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.environment import Environment
from orchestrator.secrets import Secret
from orchestrator.settings import Settings, SettingsError


def read(folder: Path, text: str, **environ: str) -> Environment:
    (folder / ".env").write_text(text)
    return Environment.read(environ, folder)


def test_environment_wins(tmp_path: Path) -> None:
    environment = read(tmp_path, "A=file\nB=file\nC=file\n", A="outside", C="")
    assert environment.get("A") == Secret("outside")
    assert environment.get("B") == Secret("file")
    assert environment.get("C") is None
    assert environment.get("D") is None
    assert [environment.source(name) for name in "ABCD"] == ["environment", ".env", "default", "default"]
    assert environment.names == {"A", "B", "C"}


def test_quotes_exports_comments_and_a_byte_order_mark(tmp_path: Path) -> None:
    environment = read(tmp_path, "\ufeff# settings\n\nA='x y'  # why\nexport B=\"1\\n2\"\nC=plain # no\nD=a#b\n")
    values = [environment.get(name) for name in "ABCD"]
    assert values == [Secret("x y"), Secret("1\n2"), Secret("plain"), Secret("a#b")]


def test_nothing_is_expanded(tmp_path: Path) -> None:
    environment = read(tmp_path, "A=1\n\nB='x${A}'\n")
    assert environment.get("B") == Secret("x${A}")
    assert environment.warnings == (".env, line 3: ${…} in B is taken as it is, not expanded",)


def test_name_without_value_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\n\nORCHESTRATOR_MODE\n")
    assert Settings.load({}, tmp_path).warnings == (".env, line 3: ORCHESTRATOR_MODE has no value and is left out",)


def test_line_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n\nB='canary\n")
    with pytest.raises(SettingsError, match=r"\.env, line 3 cannot be read: write NAME=value.*\.$") as caught:
        Settings.load({}, tmp_path)
    assert "canary" not in str(caught.value)


def test_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(SettingsError, match=r"\.env is not UTF-8: save it as such\.$"):
        Settings.load({}, tmp_path)


def test_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> str:
        raise PermissionError(13, "Permission denied")

    (tmp_path / ".env").write_text("A=1\n")
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(SettingsError, match=r"\.env cannot be read: Permission denied"):
        Settings.load({}, tmp_path)


def test_a_folder_of_that_name_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert Settings.load({}, tmp_path).warnings == ()


def test_values_stay_out_of_repr(tmp_path: Path) -> None:
    assert repr(read(tmp_path, "A=canary\n", B="canary")) == "Environment(2 variables)"
