"""Settings: a wrong one stops the start with its name, and no secret is ever told."""

from typing import get_args, get_type_hints

import pytest

from service import settings as settings_module
from service.errors import SettingsError
from service.settings import FileName, Settings, load_settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_valid():
    settings = load_settings()
    assert (settings.port, settings.psql_port, settings.timezone) == (5555, 5432, "UTC")


def test_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("API_GATEWAY_URL", "http://kong:8001/")
    monkeypatch.setenv("PSQL_HOST", "db")
    monkeypatch.setenv("SECURE_LOANS", "false")
    settings = load_settings()
    assert (settings.api_gateway_url, settings.psql_host, settings.secure_loans) == ("http://kong:8001", "db", False)


def test_env_and_auth_files_are_read_and_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("PORT=6000\nPSQL_HOST=file\n")
    (tmp_path / ".auth").write_text("export JWT=x\nexport PSQL_PW=pw\n")
    monkeypatch.setenv("PSQL_HOST", "environment")
    settings = load_settings()
    assert (settings.port, settings.psql_host) == (6000, "environment")
    assert settings.psql_pw.get_secret_value() == "pw"


def test_a_file_named_for_a_setting_holds_its_value_and_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / "microkubes").mkdir()
    (tmp_path / "psql_pw").write_text("from-a-file\n")
    (tmp_path / "SECRET").write_text("from-a-file")
    monkeypatch.setattr(settings_module, "SECRETS", tmp_path)
    monkeypatch.setenv("SECRET", "environment")
    settings = load_settings()
    assert (settings.psql_pw.get_secret_value(), settings.secret.get_secret_value()) == ("from-a-file", "environment")


def test_a_directory_of_secrets_that_is_not_there_is_no_trouble(monkeypatch, tmp_path):
    monkeypatch.setattr(settings_module, "SECRETS", tmp_path / "missing")
    assert load_settings().psql_pw is None


def test_every_setting_that_names_a_file_is_marked_as_one():
    told = {name for name, field in Settings.model_fields.items() if (field.description or "").startswith("file of")}
    assert {name for name in Settings.model_fields if FileName in _kinds(name)} == told


def _kinds(name: str) -> tuple[object, ...]:
    kind = get_type_hints(Settings, include_extras=True)[name]
    return (kind, *get_args(kind))


def test_an_empty_value_is_no_value(monkeypatch):
    monkeypatch.setenv("PORT", "")
    assert load_settings().port == 5555


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
def test_a_wrong_setting_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: .{{10}}"):
        load_settings()


def test_every_wrong_setting_is_named_at_once(monkeypatch):
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("TIMEZONE", "x")
    with pytest.raises(SettingsError, match=r"(?s)PORT.*TIMEZONE"):
        load_settings()


def test_what_is_in_a_file_is_not_taken_for_its_name_and_does_not_show(monkeypatch, tmp_path):
    (tmp_path / "tls_key").write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    monkeypatch.setattr(settings_module, "SECRETS", tmp_path)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == "TLS_KEY: expected the name of a file, not what is in it"


def test_secrets_do_not_show(monkeypatch):
    monkeypatch.setenv("PSQL_PW", "hunter2")
    monkeypatch.setenv("SECRET", "hunter2")
    settings = load_settings()
    assert "hunter2" not in repr(settings) + str(settings)


def test_a_file_named_like_a_setting_is_read_and_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / "microkubes").mkdir()
    (tmp_path / "psql_pw").write_text("from a file\n")
    (tmp_path / "vault_secret_id").write_text("from a file")
    monkeypatch.setattr("service.settings.SECRETS", tmp_path)
    monkeypatch.setenv("VAULT_SECRET_ID", "from the environment")
    settings = load_settings()
    assert settings.psql_pw.get_secret_value() == "from a file"
    assert settings.vault_secret_id.get_secret_value() == "from the environment"
