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


def test_spaces_around_a_choice_do_not_count():
    settings = load_settings(log_level=" info", log_format="JSON ", page=" no ", timezone="Europe/Paris ")
    assert (settings.server.log_level, settings.server.log_format) == ("INFO", "json")
    assert (settings.server.page, settings.server.timezone) == (False, "Europe/Paris")


TEXTS = ["psql_user", "psql_db", "keys_dir", "clients_file", "vault_mount", "secret", "psql_pw", "vault_token_file"]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", [" ", "\t", "\u00a0 "])
def test_blank_text_is_refused(name, value):
    with pytest.raises(SettingsError, match="expected text that is not blank"):
        load_settings(**{name: value})


@pytest.mark.parametrize("name", ["service_host", "instance_host"])
@pytest.mark.parametrize("value", ["a b", "http://loaner", "loaner:5555", "/tmp/socket", "10.0.0.300", " "])
def test_hosts_are_names_without_a_port(name, value):
    with pytest.raises(SettingsError, match="expected a host name or an IP address, without a port"):
        load_settings(**{name: value})


@pytest.mark.parametrize("value", ["loaner.service.consul", "Pod_1", "10.0.0.3", "2001:db8::1", "[2001:db8::1]"])
def test_hosts_are_kept_as_written(value):
    assert load_settings(instance_host=value).service.instance_host == value


@pytest.mark.parametrize("name", ["api_gateway_token", "api_gateway_key", "vault_token", "consul_token"])
@pytest.mark.parametrize("value", ["hunter2\n", "hun\nter2", "hunter\u20ac", " hunter2"])
def test_secrets_that_are_sent_in_headers_are_one_line_of_ascii(name, value):
    with pytest.raises(SettingsError) as caught:
        load_settings(**{name: value})
    assert str(caught.value) == f"{name.upper()}: expected one line of ASCII characters without spaces around it"
