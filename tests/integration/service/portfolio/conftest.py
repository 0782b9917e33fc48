"""The portfolio of one ledger: by SQL, from a columnar file, and by the command."""

from contextlib import closing

import pytest
from click.testing import CliRunner

from service.cli.main import main
from service.portfolio.sql import SqlPortfolio
from service.portfolio.sync import refresh
from service.postgres.connect import connect
from service.postgres.pool import ConnectionPool
from tests.support.processes import reach


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "portfolio"


@pytest.fixture
def refreshed(settings, path):
    """Return a function that brings the file up to date and returns it, and whether it was rewritten."""

    def run():
        before = path.stat().st_ino if path.exists() else None
        with closing(connect(settings, "reader")) as connection:
            ledger = refresh(connection, path)
        return ledger, path.stat().st_ino != before

    return run


@pytest.fixture
def by_sql(settings):
    """Return the portfolio as computed by Postgres."""
    with closing(ConnectionPool(settings)) as database:
        yield SqlPortfolio(database)


@pytest.fixture
def command(served, monkeypatch, path):
    """Return a function that runs the command over the three loans of `served`."""
    for name, value in reach(served.postgres).items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(main, ["portfolio", "--file", str(path), *arguments])
