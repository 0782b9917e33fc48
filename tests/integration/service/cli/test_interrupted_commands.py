"""Ctrl-C in a terminal ends every command that waits for a statement within two seconds, and cancels the statement."""

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

import service.cli.close
from service.cli.close import _describe
from service.cli.main import main
from service.postgres.connect import connect
from service.postgres.migrate import _LOCK
from tests.conftest import load_ledger, sql
from tests.support.processes import reach
from tests.support.terminal import interrupt, read_until, terminal
from tests.support.waiting import wait_until

LOANS = "LOCK TABLE loans IN ACCESS EXCLUSIVE MODE"
PERIODS = "LOCK TABLE closed_periods IN ACCESS EXCLUSIVE MODE"
CLOSE = ("close", "--until", "2020-01-31", "--why", "the books are audited")
KNOWN_AT = ("portfolio", "--date", "2020-07-01", "--known-at", "2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("arguments", "lock", "message"),
    [
        (("migrate",), f"SELECT pg_advisory_xact_lock({_LOCK})", "Interrupted; nothing was changed"),
        (CLOSE, PERIODS, "Interrupted; nothing was closed or reopened"),
        (("close", "--list"), PERIODS, "Interrupted"),
        (("portfolio", "--date", "2020-07-01", "--file", "FOLDER/portfolio"), LOANS, "Interrupted"),
        (KNOWN_AT, LOANS, "Interrupted"),
        ((*KNOWN_AT, "--csv"), LOANS, "Interrupted"),
        ((*KNOWN_AT, "--csv", "--parts"), LOANS, "Interrupted"),
    ],
)
def test_an_interrupted_command_cancels_its_statement(settings, posting, tmp_path, arguments, lock, message):
    load_ledger(posting, tmp_path)
    with closing(connect(settings, "admin")) as other, closing(connect(settings, "admin")) as watcher:
        watcher.autocommit = True
        other.cursor().execute(lock)
        pid = other.get_backend_pid()
        waiting = f"SELECT 1 FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))"
        words = [each.replace("FOLDER", str(tmp_path)) for each in arguments]
        with terminal(*words, **reach(settings)) as (process, ours):
            wait_until(lambda: sql(watcher, waiting), seconds=30)
            rest = interrupt(process, ours)
        wait_until(lambda: not sql(watcher, waiting))
        other.rollback()
        assert sql(watcher, "SELECT count(*) FROM closed_periods") == [(0,)]
    assert rest.endswith(f"{message}\r\n"), rest[-500:]
    assert "Traceback" not in rest
    assert not (tmp_path / "portfolio").exists()


def test_the_demonstration_can_be_interrupted(settings, posting, tmp_path):
    load_ledger(posting, tmp_path)
    with closing(connect(settings, "admin")) as other, closing(connect(settings, "admin")) as watcher:
        watcher.autocommit = True
        other.cursor().execute(LOANS)
        waiting = f"SELECT 1 FROM pg_stat_activity WHERE {other.get_backend_pid()} = ANY (pg_blocking_pids(pid))"
        with terminal("demo", **reach(settings)) as (process, ours):
            read_until(ours, lambda text: "Loan [1]" in text)
            os.write(ours, b"1\r")
            wait_until(lambda: sql(watcher, waiting), seconds=30)
            rest = interrupt(process, ours)
        other.rollback()
    assert rest.endswith("Interrupted\r\n"), rest[-500:]


def test_the_demonstration_can_be_interrupted_at_its_prompt(settings):
    with terminal("demo", **reach(settings)) as (process, ours):
        read_until(ours, lambda text: "Loan [1]" in text)
        # Python has a moment between a prompt and the read in which a signal waits for the next key.
        wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S")
        rest = interrupt(process, ours)
    assert rest.endswith("Interrupted\r\n"), rest[-500:]
    assert "Aborted" not in rest


def test_an_interrupt_after_the_commit_reports_what_was_closed(settings, posting, monkeypatch):
    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        return _describe(*arguments)

    monkeypatch.setattr(service.cli.close, "_describe", interrupted)
    for name, value in reach(settings).items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(main, list(CLOSE))
    assert done.exit_code == 130
    assert done.stdout.startswith("the ledger is closed until 2020-01-31; every day was open")
    assert done.stderr.splitlines()[-1] == "Interrupted; the change had already been committed"
    assert sql(posting, "SELECT count(*) FROM closed_periods") == [(1,)]
