"""`--standalone` is accepted on both sides of a command, and options of commands are explained."""

import pytest

from tests.support.checkout import checkout
from tests.support.processes import run


def test_sample_files_are_loaded_beside_the_sample_data_wherever_the_option_stands(tmp_path):
    with checkout() as clone:
        for seed, (before, after) in enumerate([((), ("--standalone",)), (("--standalone",), ())], start=1):
            files = [str(tmp_path / f"{name}{seed}.csv") for name in ("loans", "events")]
            first_id = () if seed == 1 else ("--first-id", "2001")
            assert run("sample", *files, "--seed", str(seed), *first_id, cwd=clone).returncode == 0
            done = run(*before, "load", *files, *after, cwd=clone)
            assert done.stdout.startswith("loaded 10 loans and 100 events"), done.stderr


@pytest.mark.parametrize("arguments", [("keys", "--standalone", "list"), ("keys", "list", "--standalone")])
def test_the_option_is_accepted_by_commands_that_need_no_database(arguments, keys_dir):
    done = run(*arguments, KEYS_DIR=str(keys_dir))
    assert done.returncode == 0, done.stderr
    assert "KEY" in done.stdout


def test_every_command_lists_the_option_in_its_help():
    for arguments in (("load",), ("keys",), ("keys", "list"), ("portfolio",)):
        assert "--standalone" in run(*arguments, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("--again", "load", "a.csv", "b.csv"), "load --again"),
        (("--check", "settings"), "settings --check"),
        (("--scope", "api:read", "client", "add", "n"), "client add --scope or token --scope"),
        (("client", "--scope", "api:read", "add", "n"), "client add --scope"),
    ],
)
def test_an_option_before_its_command_is_explained(arguments, advice):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"Error: No such option '{arguments[arguments.index(advice.split()[-1])]}'. "
        f"It belongs after the command: {advice}"
    )


@pytest.mark.parametrize("arguments", [("--nonsense",), ("client", "--nonsense", "add", "n")])
def test_an_option_that_no_command_has_is_not_explained(arguments):
    assert "belongs" not in run(*arguments).stderr


@pytest.mark.parametrize("command", [(), ("load",), ("keys", "list")])
def test_help_has_a_short_option(command):
    done = run(*command, "-h")
    assert (done.returncode, done.stdout) == (0, run(*command, "--help").stdout)
