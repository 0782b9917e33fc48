"""Settings are validated, errors name the setting, and secrets are never shown."""

import re
from dataclasses import FrozenInstanceError

import pytest
from pydantic import ValidationError

from service import settings as settings_module
from service.errors import SettingsError
from service.settings import FILE_SETTINGS, Login, Settings, TokenSettings, all_settings, given_settings, load_settings
from tests.support.settings import with_changes


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for name, _, _ in all_settings():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_valid():
    settings = load_settings()
    assert (settings.server.port, settings.postgres.port, settings.server.timezone) == (5555, 5432, "UTC")


def test_settings_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("API_GATEWAY_URL", "http://kong:8001/")
    monkeypatch.setenv("PSQL_HOST", "db")
    monkeypatch.setenv("SECURE_LOANS", "false")
    settings = load_settings()
    assert (settings.gateway.url, settings.postgres.hosts) == ("http://kong:8001", "db")
    assert settings.tokens.secure_loans is False


def test_env_and_auth_files_are_read_but_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("PORT=6000\nPSQL_HOST=file\n")
    (tmp_path / ".auth").write_text("export JWT=x\nexport PSQL_PW=pw\n")
    monkeypatch.setenv("PSQL_HOST", "environment")
    settings = load_settings()
    assert (settings.server.port, settings.postgres.hosts) == (6000, "environment")
    assert settings.postgres.password.get_secret_value() == "pw"


def test_mounted_secrets_are_read_but_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / "microkubes").mkdir()
    (tmp_path / "psql_pw").write_text("from-a-file\n")
    (tmp_path / "SECRET").write_text("from-a-file")
    monkeypatch.setattr(settings_module, "SECRETS", tmp_path)
    monkeypatch.setenv("SECRET", "environment")
    settings = load_settings()
    assert settings.postgres.password.get_secret_value() == "from-a-file"
    assert settings.tokens.client_secret.get_secret_value() == "environment"


def test_a_missing_secrets_directory_is_ignored(monkeypatch, tmp_path):
    monkeypatch.setattr(settings_module, "SECRETS", tmp_path / "missing")
    assert load_settings().postgres.password is None


def test_every_setting_that_names_a_file_has_the_type_file_name():
    described = {
        name for name, info, _ in all_settings() if re.match(r"(PEM |JSON |YAML )?file ", info.description or "", re.I)
    }
    assert described == FILE_SETTINGS


def test_every_setting_has_a_unique_name_and_a_description():
    names = [name for name, _, _ in all_settings()]
    assert len(names) == len(set(names))
    assert all(name.isupper() and info.description for name, info, _ in all_settings())


def test_overrides_win_over_the_environment_which_wins_over_defaults(monkeypatch):
    monkeypatch.setenv("PORT", "6000")
    monkeypatch.setenv("DRAIN_S", "1")
    settings = load_settings({"drain_s": 0, "listen_host": "127.0.0.1"}, port=7000)
    assert (settings.server.port, settings.server.drain_s, settings.server.listen_host) == (7000, 1, "127.0.0.1")


def test_given_settings_exclude_defaults(monkeypatch):
    monkeypatch.setenv("PORT", "5555")
    assert given_settings(load_settings(psql_db="books")) == {"port": 5555, "psql_db": "books"}
    assert given_settings(Settings()) == {}


def test_replacing_values_validates_them_and_keeps_the_original_group():
    tokens = TokenSettings(keys_dir="a")
    assert (tokens.replace(lifetime_s="60").lifetime_s, tokens.lifetime_s) == (60, 3600)
    assert tokens.replace(lifetime_s=60).keys_dir == "a"
    for wrong in ({"lifetime_s": 0}, {"lifetime": 60}):
        with pytest.raises(ValidationError):
            tokens.replace(**wrong)
    assert with_changes(Settings(), psql_host="DB", port=1).postgres.hosts == "db"


def test_groups_and_settings_are_immutable():
    settings = Settings()
    with pytest.raises(FrozenInstanceError):
        settings.tokens = TokenSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.tokens.keys_dir = "elsewhere"


def test_logins_exist_for_the_given_users_and_hide_their_passwords():
    postgres = load_settings(psql_pw="hunter2", psql_posting_user="ann", psql_admin_pw="unused").postgres
    assert (postgres.reader, postgres.poster, postgres.admin) == (Login("loaner", "hunter2"), Login("ann"), None)
    assert "hunter2" not in repr(postgres.reader)


def test_an_empty_value_means_the_default(monkeypatch):
    monkeypatch.setenv("PORT", "")
    assert load_settings().server.port == 5555


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "70000"),
        ("WORKERS", "0"),
        ("THREADS", "many"),
        ("LOG_LEVEL", "loud"),
        ("TIMEZONE", "Mars/Olympus"),
        ("TIMEZONE", "../etc/passwd"),
        ("API_GATEWAY_URL", "kong:8001"),
        ("API_GATEWAY_URL", "http://"),
        ("GATEWAY_TIMEOUT_S", "-1"),
        ("SERVICE_NAME", "my service"),
        ("SERVICE_PATH", "loaner"),
        ("PSQL_PORT", "x"),
        ("PSQL_HOST", "db1,,db2"),
        ("PSQL_STATEMENT_TIMEOUT_S", "0"),
        ("SECURE_LOANS", "perhaps"),
        ("ACCESS_TOKEN_EXPIRES", "never"),
    ],
)
def test_an_invalid_setting_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: .{{10}}"):
        load_settings()


def test_all_invalid_settings_are_named_together(monkeypatch):
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("TIMEZONE", "x")
    with pytest.raises(SettingsError, match=r"(?s)PORT.*TIMEZONE"):
        load_settings()


def test_file_content_in_place_of_a_name_is_rejected_and_not_shown(monkeypatch, tmp_path):
    (tmp_path / "tls_key").write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    monkeypatch.setattr(settings_module, "SECRETS", tmp_path)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == "TLS_KEY: expected the name of a file, not its content"


def test_secrets_are_not_shown(monkeypatch):
    monkeypatch.setenv("PSQL_PW", "hunter2")
    monkeypatch.setenv("SECRET", "hunter2")
    settings = load_settings()
    assert "hunter2" not in repr(settings) + str(settings)


def test_mounted_vault_secrets_are_read_but_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / "microkubes").mkdir()
    (tmp_path / "psql_pw").write_text("from a file\n")
    (tmp_path / "vault_secret_id").write_text("from a file")
    monkeypatch.setattr("service.settings.SECRETS", tmp_path)
    monkeypatch.setenv("VAULT_SECRET_ID", "from the environment")
    settings = load_settings()
    assert settings.postgres.password.get_secret_value() == "from a file"
    assert settings.vault.secret_id.get_secret_value() == "from the environment"
