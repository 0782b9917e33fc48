"""The command `settings`, and the warning about names that are probably misspelt."""

import pytest
from click.testing import CliRunner

from service.cli.main import main
from tests.support.processes import run

BAD = {"PORT": "hunter2", "LOG_LEVEL": "loud", "PORTT": "hunter2"}


def test_settings_are_listed_with_their_sources_although_some_are_invalid():
    done = run("settings", **BAD, PSQL_PW="hunter2", WORKERS="3")
    assert done.returncode == 1
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in done.stdout.splitlines()}
    assert lines["WORKERS"] == ["environment", "3"]
    assert lines["PORT"] == ["environment", "invalid: expected a whole number from 1 to 65535"]
    assert lines["PSQL_PW"] == ["environment", "**********"]
    assert "PORTT (environment) is not a setting; did you mean PORT?" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_the_check_fails_only_if_something_is_wrong(keys_dir):
    bad = run("settings", "--check", **BAD)
    assert bad.returncode == 1
    assert [line.split()[0] for line in bad.stdout.splitlines()] == ["PORT", "LOG_LEVEL"]
    assert bad.stderr.splitlines()[-1] == "Error: 2 invalid settings, 1 misspelt name"
    good = run("settings", "--check", LOG_LEVEL="debug", KEYS_DIR=str(keys_dir), PSQL_HOST="db", USE_VAULT="false")
    assert (good.returncode, good.stderr) == (0, "")
    assert "settings are valid" in good.stdout


@pytest.mark.parametrize("arguments", [("--standalone", "settings"), ("settings", "--standalone")])
def test_the_defaults_of_a_standalone_run_are_shown(arguments):
    lines = [line for line in run(*arguments).stdout.splitlines() if line.startswith("LISTEN_HOST")]
    assert [line.split(maxsplit=1)[1] for line in lines] == ["standalone default  127.0.0.1"]


def test_every_command_warns_about_misspelt_names(keys_dir):
    done = run("keys", "list", KEYS_DIR=str(keys_dir), THREADSS="hunter2")
    assert done.returncode == 0
    assert "THREADSS (environment) is not a setting; did you mean THREADS?" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_a_misspelt_name_fails_the_check():
    done = run("settings", "--check", "--standalone", PORTT="5")
    assert done.returncode == 1
    assert "PORTT (environment) is not a setting; did you mean PORT?" in done.stderr
    assert done.stderr.splitlines()[-1] == "Error: 1 misspelt name"


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"TLS_CERT": "/nowhere.pem"}, "TLS_KEY is not set"),
        ({"TLS_CERT": "/nowhere.pem", "TLS_KEY": "/nowhere.pem"}, "TLS_CERT: /nowhere.pem cannot be read"),
        ({"MEMCACHED_SERVERS": "a"}, "CACHE_SECRET is not set"),
        ({"MEMCACHED_SERVERS": "a", "CACHE_SECRET": "x" * 16, "MEMCACHED_CA": "/a.pem"}, "MEMCACHED_CA is set but"),
        ({"PSQL_HOST": ""}, "PSQL_HOST is not set"),
        ({"KEYS_DIR": "/nowhere"}, "KEYS_DIR: "),
        ({"CLIENTS_FILE": "/"}, "CLIENTS_FILE: "),
        ({"USE_VAULT": "true"}, "VAULT_TOKEN is not set"),
        ({"USE_VAULT": "true", "VAULT_TOKEN": "x", "VAULT_CA": "/nowhere"}, "VAULT_CA: /nowhere is not a file"),
        ({"USE_VAULT": "true", "VAULT_TOKEN_FILE": "/nowhere"}, "VAULT_TOKEN_FILE: /nowhere cannot be read"),
        ({"API_GATEWAY_CA": "/nowhere"}, "API_GATEWAY_CA: /nowhere is not a file"),
        ({"GATEWAY_PLUGINS": "/nowhere"}, "GATEWAY_PLUGINS: "),
        ({"CONSUL_AGENT_URL": "http://consul:8500/v1"}, "CONSUL_AGENT_URL: expected a URL without a path"),
    ],
)
def test_the_check_names_a_rule_across_settings_that_would_stop_a_start(monkeypatch, keys_dir, variables, name):
    usable = {"PSQL_HOST": "db", "USE_VAULT": "false", "KEYS_DIR": str(keys_dir)}
    for each, value in {**usable, **variables}.items():
        monkeypatch.setenv(each, value)
    done = CliRunner().invoke(main, ["settings", "--check"])
    assert done.exit_code == 1
    [line] = done.stdout.splitlines()
    assert line.startswith(name), line
    assert done.stderr.splitlines()[-1] == "Error: 1 broken rule"


def test_without_a_gateway_its_settings_are_not_checked(monkeypatch, keys_dir):
    for each, value in {
        "PSQL_HOST": "db", "USE_VAULT": "false", "KEYS_DIR": str(keys_dir), "SERVICE_DISCOVERY": "none",
        "GATEWAY_PLUGINS": "/nowhere",
    }.items():  # fmt: skip
        monkeypatch.setenv(each, value)
    assert CliRunner().invoke(main, ["settings", "--check"]).exit_code == 0
