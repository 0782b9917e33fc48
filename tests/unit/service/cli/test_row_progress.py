"""Progress is shown in rows: as bars in a terminal, and as lines elsewhere."""

import time

import pytest
from rich.console import Console

from service.bulk_load.progress import Progress
from service.cli import row_progress
from service.cli.row_progress import show_progress

STATES = [
    Progress("reading", 1_500, 50, 100),
    Progress("reading", 3_000, 100, 100),
    Progress("checking", 3_000),
    Progress("posting", 1, 1, 3_000),
    Progress("posting", 3_000, 3_000, 3_000),
]


def test_without_a_terminal_each_step_is_a_line(capsys):
    with show_progress() as progress:
        for state in STATES:
            progress.update(state)
    assert capsys.readouterr().err.splitlines() == [
        "reading: 3,000 rows, 100 %, 0 s",
        "checking: 3,000 rows, 0 s",
        "posting: 3,000 rows, 100 %, 0 s",
    ]


def test_a_long_step_is_repeated_although_nothing_is_reported(capsys, monkeypatch):
    monkeypatch.setattr(row_progress, "LINE_INTERVAL_S", 0.05)
    with show_progress() as progress:
        progress.update(STATES[2])
        time.sleep(0.5)
    assert capsys.readouterr().err.count("checking: 3,000 rows") >= 3


def test_in_a_terminal_each_step_is_a_bar_with_its_rows(monkeypatch, capsys):
    monkeypatch.setattr(
        row_progress, "Console", lambda **options: Console(**options, force_terminal=True, width=100, color_system=None)
    )
    with show_progress() as progress:
        for state in STATES:
            progress.update(state)
    screen = capsys.readouterr().err
    last = [line for line in screen.replace("\x1b[2K", "").split("\n") if "rows" in line][-3:]
    assert [line.split()[-4:] for line in last] == [["100%", "3,000", "rows", "0:00:00"]] * 3


def test_a_failed_task_prints_no_last_line(capsys):
    def fail() -> None:
        with show_progress() as progress:
            progress.update(STATES[0])
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    assert capsys.readouterr().err == ""
