"""What the tests of loading share: files, and what a load that is rejected leaves behind."""

from pathlib import Path

import pytest

from service.bulk_load.loader import load
from service.bulk_load.rejection import LoadRejected
from tests.conftest import sql

GOOD_LOANS = "1,2019-12-05,1000.00\n2,2019-12-06,2000\n"
GOOD_EVENTS = "1,interest,2020-01-31,10.00\n2,payment,2020-02-01,500.5\n1,payment,2020-02-02,100\n"


@pytest.fixture
def files(tmp_path):
    """Return a function that writes two files and returns their paths."""

    def write(loans: str | bytes = GOOD_LOANS, events: str | bytes = GOOD_EVENTS):
        paths = tmp_path / "loans.csv", tmp_path / "events.csv"
        for path, content in zip(paths, (loans, events), strict=True):
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return paths

    return write


def counts(connection):
    return sql(connection, "SELECT (SELECT count(*) FROM loans), (SELECT count(*) FROM loan_events)")[0]


def state(connection):
    return counts(connection), sql(connection, "SELECT count(*), max(loaded_at) FROM loaded_files")


def bad_rows(connection, paths, **options) -> list[str]:
    """Return the errors of a load that writes nothing."""
    before = state(connection)
    with pytest.raises(LoadRejected) as caught:
        load(connection, *paths, **options)
    assert state(connection) == before
    return [str(row).removeprefix(f"{Path(row.file).parent}/") for row in caught.value.bad_rows]
