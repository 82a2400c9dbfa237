"""No secret shows in what settings say of themselves, right or wrong."""

from __future__ import annotations

import dataclasses
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest

from orchestrator.settings import Settings, SettingsError

CANARY = "canary-7c1f/é@x"
PLAIN = "canary-7c1f-0123456789"

SECRET = {
    "ORCHESTRATOR_DATABASE_URL": f"postgresql://u:{quote(CANARY, safe='')}@h/db?sslpassword={PLAIN}",
    "ORCHESTRATOR_API_TOKENS": f"ops:admin:{PLAIN},tv:viewer:{PLAIN}-2",
    "TOKPORTAL_API_KEY": PLAIN,
    "TOKPORTAL_WEBHOOK_SECRET": f"{CANARY},{PLAIN}",
    "SOMETHING_ELSE": PLAIN,
    "ORCHESTRATOR_UNKNOWN": PLAIN,
}


@pytest.mark.parametrize("in_file", [True, False])
def test_what_is_right(tmp_path: Path, in_file: bool) -> None:
    if in_file:
        (tmp_path / ".env").write_text("".join(f"{name}='{text}'\n" for name, text in SECRET.items()))
    settings = Settings.load({} if in_file else SECRET, tmp_path)
    shown = [repr(settings), str(settings), str(dataclasses.asdict(settings)), *settings.warnings]
    shown += [repr(settings.effective), repr(settings.secrets), repr(vars(settings))]
    assert "canary" not in "\n".join(shown)
    assert CANARY in [secret.reveal() for secret in settings.secrets]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ORCHESTRATOR_DATABASE_URL", f"postgresql://u:{PLAIN}@x@h/db"),
        ("ORCHESTRATOR_DATABASE_URL", f"postgresql://u:x@{PLAIN}@h:5432/db"),
        ("ORCHESTRATOR_DATABASE_URL", f"postgresql://u:x@h:{PLAIN}/db"),
        ("ORCHESTRATOR_DATABASE_URL", f"mysql://u:{PLAIN}@h/db"),
        ("ORCHESTRATOR_DATABASE_URL", PLAIN),
        ("ORCHESTRATOR_DATABASE_URL", f"sqlite://{PLAIN}"),
        ("ORCHESTRATOR_PUBLIC_URL", f"https://u:{PLAIN}@h"),
        ("TOKPORTAL_BASE_URL", f"http://{PLAIN}@h"),
        ("ORCHESTRATOR_API_TOKENS", PLAIN),
        ("ORCHESTRATOR_API_TOKENS", f"ops:{PLAIN}:admin"),
        ("ORCHESTRATOR_API_TOKENS", f"ops:admin:{PLAIN} "[:-1] + "\u00a0x"),
        ("ORCHESTRATOR_API_TOKENS", f"a:admin:{PLAIN},a:admin:{PLAIN}"),
        ("ORCHESTRATOR_API_TOKENS", f"a:admin:{PLAIN},b:admin:{PLAIN}"),
        ("TOKPORTAL_API_KEY", f"{PLAIN} {PLAIN}"),
    ],
)
def test_what_is_wrong(tmp_path: Path, variable: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load({variable: text}, tmp_path)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
