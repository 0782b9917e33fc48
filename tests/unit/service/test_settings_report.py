"""The report of settings names each value's source, shows no secret, and marks what is invalid."""

import pytest

from service import settings as settings_module
from service.settings import all_settings, report_settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for name, _, _ in all_settings():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings_module, "SECRETS", tmp_path / "secrets")


def report(**defaults):
    return {each.name: (each.source, each.value, each.error) for each in report_settings(defaults)}


def test_every_setting_is_reported_in_order():
    assert [each.name for each in report_settings({})] == [name for name, _, _ in all_settings()]
    assert {source for source, _, error in report().values() if error is None} == {"default"}


def test_the_source_that_counts_is_named(monkeypatch, tmp_path):
    (tmp_path / "secrets").mkdir()
    for name in ("port", "workers", "threads", "queue_size"):
        (tmp_path / "secrets" / name).write_text("4\n")
    (tmp_path / ".env").write_text("PORT=3\nWORKERS=3\nTHREADS=3\nPSQL_DB=\n")
    (tmp_path / ".auth").write_text("export PORT=2\nexport WORKERS=2\n")
    monkeypatch.setenv("PORT", "1")
    found = report(drain_s=0, port=9)
    assert [found[name][:2] for name in ("PORT", "WORKERS", "THREADS", "QUEUE_SIZE", "DRAIN_S", "PSQL_DB")] == [
        ("environment", "1"),
        (".auth", "2"),
        (".env", "3"),
        (str(tmp_path / "secrets"), "4"),
        ("standalone default", "0.0"),
        ("default", "loaner"),
    ]


def test_secrets_are_masked(monkeypatch):
    for name in ("PSQL_PW", "SECRET", "VAULT_TOKEN", "VAULT_SECRET_ID", "API_GATEWAY_TOKEN", "CONSUL_TOKEN"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("API_GATEWAY_URL", "http://ann:hunter2@kong:8001")
    monkeypatch.setenv("WORKERS", "hunter2")  # invalid values are not shown either
    monkeypatch.setenv("PSQL_PORT", "hunter2")
    found = report()
    assert "hunter2" not in str(found)
    assert found["PSQL_PW"] == ("environment", "**********", None)
    assert found["API_GATEWAY_URL"][1] == "http://kong:8001"
    assert found["WORKERS"][2] == "expected a whole number from 1 to 256"
    assert found["PORT"] == ("default", "5555", None)
