"""Ctrl-C in a terminal ends `load` within two seconds, and the message says what became of the rows."""

import os
import signal
import time
from contextlib import closing

import pytest
from click.testing import CliRunner

import service.bulk_load.loader
from service.bulk_load.loader import load
from service.bulk_load.sample import write_sample
from service.cli.main import main
from service.postgres.connect import connect
from tests.conftest import sql
from tests.support.processes import reach
from tests.support.terminal import interrupt, read_until, terminal

_LOAD_LOCK = 0x6C6F6164


@pytest.fixture
def files(tmp_path):
    paths = tmp_path / "loans.csv", tmp_path / "events.csv"
    write_sample(*paths, loans=20_000, events_per_loan=10)
    return paths


@pytest.mark.parametrize("step", ["reading", "waiting", "posting"])
def test_an_interrupted_load_stops_and_loads_nothing(settings, posting, files, step):
    locks = {
        "reading": "SELECT 1",
        "waiting": f"SELECT pg_advisory_xact_lock({_LOAD_LOCK})",  # another load runs
        "posting": "LOCK TABLE loan_events IN EXCLUSIVE MODE",
    }
    with closing(connect(settings, "admin")) as other, other.cursor() as cursor:
        cursor.execute(locks[step])
        with terminal("load", *files, **reach(settings)) as (process, ours):
            if step == "waiting":
                pid = other.get_backend_pid()
                while not sql(posting, f"SELECT 1 FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))"):
                    time.sleep(0.05)
            else:
                read_until(ours, lambda text: step in text)
                if step == "posting":
                    time.sleep(0.5)  # it waits in a statement now
            rest = interrupt(process, ours)
        other.rollback()
    assert rest.endswith("Interrupted; nothing was loaded\r\n"), rest[-500:]
    assert sql(posting, "SELECT count(*) FROM loans") == [(0,)]
    assert sql(posting, "SELECT count(*) FROM loaded_files") == [(0,)]


def test_an_interrupt_after_the_commit_reports_what_was_loaded(settings, posting, tmp_path, monkeypatch):
    paths = tmp_path / "loans.csv", tmp_path / "events.csv"
    write_sample(*paths)

    def interrupted_at_the_end(*arguments, **options):
        loaded = load(*arguments, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return loaded

    monkeypatch.setattr(service.bulk_load.loader, "load", interrupted_at_the_end)
    for name, value in reach(settings).items():
        monkeypatch.setenv(name, value)
    handler = signal.getsignal(signal.SIGINT)
    done = CliRunner().invoke(main, ["load", *map(str, paths)])
    assert done.exit_code == 130
    assert done.stdout.startswith("loaded 10 loans and 100 events")
    assert done.stderr.splitlines()[-1] == "Interrupted; the load had already been committed"
    assert signal.getsignal(signal.SIGINT) is handler
    assert sql(posting, "SELECT count(*) FROM loan_events") == [(100,)]


def test_an_interrupted_sample_says_that_its_files_are_incomplete(tmp_path):
    paths = tmp_path / "loans.csv", tmp_path / "events.csv"
    with terminal("sample", *paths, "--loans", "10000000") as (process, ours):
        read_until(ours, lambda text: "rows" in text)
        assert "are incomplete" in interrupt(process, ours)
