"""Messages about invalid settings use the service's words and show no value."""

import pytest

from service.errors import SettingsError
from service.settings import load_settings

NUMBERS = {
    "port": "expected a whole number from 1 to 65535",
    "body_timeout_s": "expected a number above 0 and up to 3600",
    "psql_statement_timeout_s": "expected a number from 0.001 to 300",
    "cache_bytes": "expected a whole number of at least 0",
}


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("value", ["hunter2", "-1", "1e99", "nan", "inf", "1 000", ""])
@pytest.mark.parametrize(("name", "expected"), NUMBERS.items())
def test_numbers(name, expected, value):
    if not value or (name, value) == ("cache_bytes", "1e99"):
        value = "x"
    with pytest.raises(SettingsError) as caught:
        load_settings(**{name: value})
    assert str(caught.value) == f"{name.upper()}: {expected}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("log_level", "expected DEBUG, INFO, WARNING or ERROR"),
        ("service_discovery", "expected consul, upstream or none"),
        ("secure_loans", "expected true or false"),
        ("use_vault", "expected true or false"),
        ("service_port", "expected a whole number from 1 to 65535"),
        ("timezone", "expected the name of a time zone, such as UTC or Europe/Paris"),
    ],
)
def test_choices_and_others(name, expected):
    with pytest.raises(SettingsError) as caught:
        load_settings(**{name: "hunter2"})
    assert str(caught.value) == f"{name.upper()}: {expected}"


@pytest.mark.parametrize(("given", "read"), [("debug", "DEBUG"), ("Warning", "WARNING"), ("INFO", "INFO")])
def test_choices_are_accepted_in_either_case(given, read):
    settings = load_settings(log_level=given, service_discovery="None")
    assert (settings.server.log_level, settings.service.discovery) == (read, "none")
