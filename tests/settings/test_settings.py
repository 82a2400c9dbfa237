from __future__ import annotations

import io
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.bundled import bundled
from orchestrator.clock import Scale
from orchestrator.secrets import Secret
from orchestrator.settings import ApiToken, LogFormat, Mode, Role, Settings, SettingsError, is_loopback

TOKEN = "0123456789abcdef"
Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Settings from variables, which are named without `ORCHESTRATOR_`."""

    def load(**variables: str) -> Settings:
        full = {
            name if name.startswith("TOKPORTAL_") else f"ORCHESTRATOR_{name}": text for name, text in variables.items()
        }
        return Settings.load(full, tmp_path)

    return load


def test_defaults(load: Load, tmp_path: Path) -> None:
    settings = load()

    assert settings.mode is Mode.OBSERVE
    assert settings.database_url.reveal() == f"sqlite:///{tmp_path}/data/orchestrator.db"
    assert settings.config_dir == bundled("config")
    assert (settings.host, settings.port, settings.public_url) == ("127.0.0.1", 8080, None)
    assert settings.api_tokens == ()
    assert (settings.allowed_networks, settings.trusted_proxies) == (None, None)
    assert settings.require_https is False
    assert settings.max_body == 1024 * 1024
    assert settings.rate_limit == "50/s"
    assert settings.clock is None
    assert settings.tokportal_api_key is None
    assert settings.tokportal_base_url == "https://app.tokportal.com/api/ext"
    assert settings.webhook_secrets == ()
    assert settings.warnings == ()
    assert settings.secrets == ()


@pytest.mark.parametrize(
    "name",
    [
        "MODE",
        "DATABASE_URL",
        "CONFIG_DIR",
        "PORT",
        "API_TOKENS",
        "ALLOWED_NETWORKS",
        "MAX_BODY",
        "CLOCK",
        "TOKPORTAL_API_KEY",
    ],
)
def test_blank_is_not_set(load: Load, name: str) -> None:
    settings = load(**{name: "  "})
    assert {setting.source for setting in settings.effective} == {"default"}


def test_white_space_around_values_is_dropped(load: Load) -> None:
    assert load(PORT=" 9000\n").port == 9000


# One variable at a time: what is taken


@pytest.mark.parametrize("text", ["observe", "OBSERVE", "sandbox"])
def test_mode(load: Load, text: str) -> None:
    assert load(MODE=text).mode == text.lower()


def test_live_with_a_key(load: Load) -> None:
    settings = load(MODE="live", TOKPORTAL_API_KEY="tp_key")
    assert settings.mode is Mode.LIVE
    assert settings.tokportal_api_key == Secret("tp_key")


@pytest.mark.parametrize(("mode", "world"), [("observe", "tokportal"), ("live", "tokportal"), ("sandbox", "sandbox")])
def test_world(load: Load, mode: str, world: str) -> None:
    assert load(MODE=mode, TOKPORTAL_API_KEY="tp_key").world == world


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("sqlite:///data/orchestrator.db", "data"),
        ("sqlite:///orchestrator.db", "."),
        ("sqlite:////srv/x/orchestrator.db", "/srv/x"),
        ("postgresql://u:p@h/db", "data"),
        ("postgres://h/db", "data"),
        ("postgresql+psycopg://h/db", "data"),
    ],
)
def test_data_folder_is_beside_the_database(load: Load, tmp_path: Path, url: str, folder: str) -> None:
    assert load(DATABASE_URL=url).data_dir == tmp_path / folder


def test_database_url_survives_odd_folders(tmp_path: Path) -> None:
    cwd = tmp_path / "what? 50%25#1"
    cwd.mkdir()
    assert Settings.load({}, cwd).data_dir == cwd / "data"


def test_config_folder(load: Load, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "other").mkdir()
    assert load().config_dir == tmp_path / "config"
    assert load(CONFIG_DIR="other").config_dir == tmp_path / "other"
    assert load(CONFIG_DIR=str(tmp_path / "other")).config_dir == tmp_path / "other"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.9.9.9", "127.9.9.9"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("localhost", "localhost"),
    ],
)
def test_loopback_needs_no_tokens(load: Load, text: str, host: str) -> None:
    assert load(HOST=text).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "orchestrator.internal", "localhost.example.com"])
def test_elsewhere_tokens_are_needed(load: Load, host: str) -> None:
    with pytest.raises(SettingsError, match=r"ORCHESTRATOR_HOST.*ORCHESTRATOR_API_TOKENS.*127\.0\.0\.1\.$"):
        load(HOST=host)
    assert load(HOST=host, API_TOKENS=f"ops:admin:{TOKEN}").host == host


@pytest.mark.parametrize("text", ["0", "80", "65535"])
def test_port(load: Load, text: str) -> None:
    assert load(PORT=text).port == int(text)


def test_public_url_ends_without_a_slash(load: Load) -> None:
    assert (
        load(PUBLIC_URL="https://hooks.example.com/orchestrator/").public_url
        == "https://hooks.example.com/orchestrator"
    )


def test_api_tokens(load: Load) -> None:
    settings = load(API_TOKENS=f" ops:admin:{TOKEN} ,, board.tv:viewer:{TOKEN}:with:colons,bot_1:operator:{TOKEN}=")
    assert settings.api_tokens == (
        ApiToken("ops", Role.ADMIN, Secret(TOKEN)),
        ApiToken("board.tv", Role.VIEWER, Secret(f"{TOKEN}:with:colons")),
        ApiToken("bot_1", Role.OPERATOR, Secret(f"{TOKEN}=")),
    )


@pytest.mark.parametrize("variable", ["ALLOWED_NETWORKS", "TRUSTED_PROXIES"])
def test_networks(load: Load, tmp_path: Path, variable: str) -> None:
    (tmp_path / "networks.txt").write_text("192.0.2.0/24  # the office\n2001:db8::/32\n")
    for text in ("192.0.2.0/24,2001:db8::/32", "@networks.txt", f"@{tmp_path / 'networks.txt'}"):
        networks = getattr(load(**{variable: text}), variable.lower())
        assert str(networks) == "192.0.2.0/24,2001:db8::/32"


@pytest.mark.parametrize(
    ("host", "proxies", "expected"),
    [
        ("127.0.0.1", None, False),
        ("localhost", None, False),
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", None, True),
        ("0.0.0.0", "10.0.0.0/8", True),
    ],
)
def test_https_is_required_unless_bound_to_loopback_without_proxies(
    load: Load, host: str, proxies: str | None, expected: bool
) -> None:
    variables = {"HOST": host, "API_TOKENS": f"ops:admin:{TOKEN}"} | ({"TRUSTED_PROXIES": proxies} if proxies else {})
    assert load(**variables).require_https is expected
    assert load(**variables, REQUIRE_HTTPS="true").require_https is True
    assert load(**variables, REQUIRE_HTTPS="No").require_https is False


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1MiB", 1048576),
        ("64KiB", 65536),
        ("64 kib", 65536),
        ("20000", 20000),
        ("1", 1),
        ("5B", 5),
        ("512MiB", 1 << 29),
    ],
)
def test_max_body(load: Load, text: str, size: int) -> None:
    assert load(MAX_BODY=text).max_body == size


def test_rate_limit(load: Load) -> None:
    assert load(RATE_LIMIT="600/m").rate_limit == "600/m"


def test_clock(load: Load) -> None:
    assert load(CLOCK="real").clock is None
    expected = Scale(datetime(2026, 12, 1, tzinfo=UTC), 600.0)
    assert load(MODE="sandbox", CLOCK="2026-12-01T01:00:00+01:00@600").clock == expected
    assert load(MODE="sandbox", CLOCK="1796083200@600").clock == expected


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_log_format(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert load().log_format is LogFormat.TEXT
    assert load(LOG_FORMAT="json").log_format is LogFormat.JSON
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert load().log_format is LogFormat.JSON
    assert load(LOG_FORMAT="text").log_format is LogFormat.TEXT
    monkeypatch.setattr(sys, "stderr", None)
    assert load().log_format is LogFormat.JSON


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://tokportal.example/api/ext/", "https://tokportal.example/api/ext"),
        ("http://127.0.0.1:9000/api", "http://127.0.0.1:9000/api"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_base_url(load: Load, text: str, url: str) -> None:
    assert load(TOKPORTAL_BASE_URL=text).tokportal_base_url == url


def test_webhook_secrets_are_a_list(load: Load) -> None:
    assert load(TOKPORTAL_WEBHOOK_SECRET=" new ,, old,new,").webhook_secrets == (Secret("new"), Secret("old"))
    assert load(TOKPORTAL_WEBHOOK_SECRET=" , ").webhook_secrets == ()


# What is refused


@pytest.mark.parametrize(
    ("variable", "text", "wrong", "right"),
    [
        ("ORCHESTRATOR_MODE", "liev", "'liev'", "did you mean live?"),
        ("ORCHESTRATOR_MODE", "production", "'production'", "observe, live or sandbox"),
        ("ORCHESTRATOR_MODE", "live", "TOKPORTAL_API_KEY", "observe or sandbox"),
        ("ORCHESTRATOR_DATABASE_URL", "mysql://h/db", "'mysql'", "sqlite:///"),
        ("ORCHESTRATOR_DATABASE_URL", "data/orchestrator.db", "cannot be read", "sqlite:///"),
        ("ORCHESTRATOR_DATABASE_URL", "sqlite://data/orchestrator.db", "no host", "three slashes"),
        ("ORCHESTRATOR_DATABASE_URL", "sqlite://", "needs a file", "sqlite:///data"),
        ("ORCHESTRATOR_DATABASE_URL", "sqlite:///:memory:", "needs a file", "sqlite:///data"),
        ("ORCHESTRATOR_DATABASE_URL", "sqlite:///file:x?uri=true", "needs a file", "sqlite:///data"),
        ("ORCHESTRATOR_DATABASE_URL", "postgresql://u:p@ss@h/db", "more than one @", "%40"),
        ("ORCHESTRATOR_DATABASE_URL", "postgresql://u:p@h:port/db", "cannot be read", "postgresql://USER"),
        ("ORCHESTRATOR_CONFIG_DIR", "missing", "no folder", "create it"),
        ("ORCHESTRATOR_HOST", "127.1", "'127.1'", "127.0.0.1"),
        ("ORCHESTRATOR_HOST", "http://127.0.0.1", "'http://127.0.0.1'", "127.0.0.1"),
        ("ORCHESTRATOR_HOST", "[localhost", "'[localhost'", "127.0.0.1"),
        ("ORCHESTRATOR_PORT", "http", "'http'", "0 to 65535"),
        ("ORCHESTRATOR_PORT", "65536", "'65536'", "0 to 65535"),
        ("ORCHESTRATOR_PORT", "8_080", "'8_080'", "0 to 65535"),
        ("ORCHESTRATOR_PORT", "tcp://10.0.0.1:80", "enableServiceLinks", "0 to 65535"),
        ("ORCHESTRATOR_PUBLIC_URL", "hooks.example.com", "'hooks.example.com'", "https://"),
        ("ORCHESTRATOR_PUBLIC_URL", "https://", "'https://'", "https://"),
        ("ORCHESTRATOR_PUBLIC_URL", "https://h/?a=b", "'https://h/?a=b'", "https://"),
        ("ORCHESTRATOR_PUBLIC_URL", "https://h:99999", "'https://h:99999'", "https://"),
        ("ORCHESTRATOR_PUBLIC_URL", "https://user:hidden@h", "user name or password", "https://"),
        ("ORCHESTRATOR_API_TOKENS", "ops:admin", "entry 1", "name:role:token"),
        ("ORCHESTRATOR_API_TOKENS", f"ops:root:{TOKEN}", "role in entry 1", "viewer, operator or admin"),
        ("ORCHESTRATOR_API_TOKENS", f"a b:admin:{TOKEN}", "name in entry 1", "letters"),
        ("ORCHESTRATOR_API_TOKENS", f":admin:{TOKEN}", "name in entry 1", "letters"),
        ("ORCHESTRATOR_API_TOKENS", f"a:admin:{TOKEN},b:viewer:", "token in entry 2 is empty", "ASCII"),
        ("ORCHESTRATOR_API_TOKENS", f"a:admin:{TOKEN} {TOKEN}", "token in entry 1", "without spaces"),
        ("ORCHESTRATOR_API_TOKENS", f"a:admin:{TOKEN},a:viewer:{TOKEN}x", "entry 2 has the name", "each its own"),
        ("ORCHESTRATOR_API_TOKENS", f"a:admin:{TOKEN},b:viewer:{TOKEN}", "entry 2 has the token", "each its own"),
        ("ORCHESTRATOR_ALLOWED_NETWORKS", "192.0.2.1/24", "bits are set", "192.0.2.0/24"),
        ("ORCHESTRATOR_ALLOWED_NETWORKS", "@missing.txt", "missing.txt", "cannot read"),
        ("ORCHESTRATOR_TRUSTED_PROXIES", "proxy", "'proxy' is no network", "192.0.2.0/24"),
        ("ORCHESTRATOR_REQUIRE_HTTPS", "maybe", "'maybe'", "true or false"),
        ("ORCHESTRATOR_MAX_BODY", "1MB", "'1MB'", "1MiB"),
        ("ORCHESTRATOR_MAX_BODY", "0", "'0'", "1MiB"),
        ("ORCHESTRATOR_MAX_BODY", "513MiB", "'513MiB'", "512MiB"),
        ("ORCHESTRATOR_MAX_BODY", "-1", "'-1'", "65536"),
        ("ORCHESTRATOR_RATE_LIMIT", "50", "'50' is no rate", "50/s"),
        ("ORCHESTRATOR_CLOCK", "fast", "'fast'", "EPOCH@SPEED"),
        ("ORCHESTRATOR_CLOCK", "2026-12-01T00:00:00Z@600", "2026-12-01T00:00:00Z@600", "the mode sandbox"),
        ("ORCHESTRATOR_LOG_FORMAT", "xml", "'xml'", "text or json"),
        ("TOKPORTAL_API_KEY", "two words", "spaces", "copy it again"),
        ("TOKPORTAL_API_KEY", "clé", "beyond ASCII", "copy it again"),
        ("TOKPORTAL_BASE_URL", "http://app.tokportal.com", "in the clear", "https://"),
        ("TOKPORTAL_BASE_URL", "http://127.0.0.1.example.com", "in the clear", "https://"),
        ("TOKPORTAL_BASE_URL", "ftp://app.tokportal.com", "'ftp://app.tokportal.com'", "https://"),
    ],
)
def test_errors_are_one_sentence(tmp_path: Path, variable: str, text: str, wrong: str, right: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load({variable: text}, tmp_path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{variable}: ")
    assert wrong in sentence
    assert right in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert ". " not in sentence


def test_is_loopback() -> None:
    assert [host for host in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "LOCALHOST") if not is_loopback(host)] == []
    assert [
        host for host in ("", "0.0.0.0", "::", "10.0.0.1", "localhost.", "127.0.0.1.nip.io") if is_loopback(host)
    ] == []


# Warnings and sources


@pytest.mark.parametrize(
    ("variable", "warning"),
    [
        ("ORCHESTRATOR_DATABSE_URL", "did you mean ORCHESTRATOR_DATABASE_URL?"),
        ("ORCHESTRATOR_API_TOKEN", "did you mean ORCHESTRATOR_API_TOKENS?"),
        ("orchestrator_mode", "did you mean ORCHESTRATOR_MODE?"),
        ("ORCHESTRATOR_TURBO_BUTTON", "it has no effect"),
    ],
)
def test_unknown_variable_is_a_warning(tmp_path: Path, variable: str, warning: str) -> None:
    settings = Settings.load({variable: "hidden", "OTHER": "x"}, tmp_path)
    assert settings.warnings == (f"{variable} is not a setting: {warning}",)


def test_a_token_that_can_be_guessed_is_taken_with_a_warning(load: Load) -> None:
    settings = load(API_TOKENS=f"ops:admin:{'x' * 16},tv:viewer:{'y' * 15},bot:operator:z")
    assert [len(token.token.reveal()) for token in settings.api_tokens] == [16, 15, 1]
    assert settings.warnings == tuple(
        f"ORCHESTRATOR_API_TOKENS: the token in entry {number} has fewer than 16 characters and can be guessed"
        for number in (2, 3)
    )


def test_effective_values_and_sources(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ORCHESTRATOR_PORT=9000\nORCHESTRATOR_MODE=sandbox\nORCHESTRATOR_HOST=::1\n")
    settings = Settings.load({"ORCHESTRATOR_MODE": "observe", "ORCHESTRATOR_HOST": ""}, tmp_path)
    effective = {setting.variable: (setting.value, setting.source) for setting in settings.effective}

    assert len(effective) == 18
    assert effective["ORCHESTRATOR_PORT"] == ("9000", ".env")
    assert effective["ORCHESTRATOR_MODE"] == ("observe", "environment")
    assert effective["ORCHESTRATOR_HOST"] == ("127.0.0.1", "default")
    assert effective["ORCHESTRATOR_REQUIRE_HTTPS"] == ("false", "default")
    assert effective["ORCHESTRATOR_CLOCK"] == ("real", "default")
    assert effective["ORCHESTRATOR_PUBLIC_URL"] == ("none", "default")
    assert effective["ORCHESTRATOR_MAX_BODY"] == ("1048576 bytes", "default")


def test_a_password_that_is_a_name_is_not_masked_everywhere(load: Load) -> None:
    assert load(DATABASE_URL="postgresql://orchestrator:orchestrator@h/orchestrator").secrets == ()
    assert load(DATABASE_URL="postgresql://u:secret@h/db").secrets == (Secret("secret"),)
    assert load(DATABASE_URL="postgresql://h/db?user=u&password=secret").secrets == (Secret("secret"),)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("localhost", "http://localhost:8080"),
    ],
)
def test_how_this_machine_reaches_the_service(tmp_path: Path, host: str, url: str) -> None:
    tokens = "ann:admin:0123456789abcdef"
    assert Settings.load({"ORCHESTRATOR_HOST": host, "ORCHESTRATOR_API_TOKENS": tokens}, tmp_path).url == url


@pytest.mark.parametrize(
    ("base_url", "is_real"),
    [
        ("https://app.tokportal.com/api/ext", True),
        ("https://APP.tokportal.com:443/api/ext/", True),
        ("http://127.0.0.1:8090/api/ext", False),
    ],
)
def test_whether_the_real_tokportal_is_meant(tmp_path: Path, base_url: str, is_real: bool) -> None:
    assert Settings.load({"TOKPORTAL_BASE_URL": base_url}, tmp_path).names_tokportal is is_real
