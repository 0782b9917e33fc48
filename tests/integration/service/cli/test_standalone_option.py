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


def test_an_option_before_its_command_is_explained():
    done = run("--again", "load", "a.csv", "b.csv")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("It belongs after the command: load --again")
    assert "belongs" not in run("--nonsense").stderr
