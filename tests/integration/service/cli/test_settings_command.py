"""The command `settings`, and the warning about names that are probably misspelt."""

import pytest

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


def test_the_check_fails_only_if_a_setting_is_invalid():
    bad = run("settings", "--check", **BAD)
    assert bad.returncode == 1
    assert [line.split()[0] for line in bad.stdout.splitlines()] == ["PORT", "LOG_LEVEL"]
    assert bad.stderr.splitlines()[-1] == "Error: 2 invalid settings"
    good = run("settings", "--check", LOG_LEVEL="debug")
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
