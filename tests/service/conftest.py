"""An application over a real Postgres with three loans."""

import pytest

from service.bulk_load.loader import load
from service.runtime.bootstrap import build_app
from service.settings import load_settings

LOANS = "1,2019-12-05,1000.00\n2,2019-12-06,2000.00\n3,2020-06-01,50.00\n"
EVENTS = (
    "1,interest,2020-01-31,10.00\n1,payment,2020-02-29,110.50\n1,fee,2020-03-01,0.05\n2,payment,2020-02-01,2500.00\n"
)


@pytest.fixture
def served(settings, posting, tmp_path, keys_dir):
    """Settings for an application whose ledger holds LOANS and EVENTS."""
    paths = tmp_path / "loans.csv", tmp_path / "events.csv"
    for path, content in zip(paths, (LOANS, EVENTS), strict=True):
        path.write_text(content)
    load(posting, *paths)
    chosen = load_settings(keys_dir=str(keys_dir), secret="s3cret-of-the-client", threads=2)
    reach = {name: value for name, value in settings if name.startswith("psql_")}
    return chosen.model_copy(update=reach)


@pytest.fixture
def client(served):
    """Flask's test client."""
    return build_app(served).test_client()
