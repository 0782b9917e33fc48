"""What the tests share: a real PostgreSQL, key pairs, tokens, an application over them."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import psycopg2
import pytest
from flask import Flask
from psycopg2.extensions import connection as Connection

import native
from security import SecurityChain
from security.keys.generation import write_key_pair
from service.bulk_load.loader import load
from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.runtime.bootstrap import build_app
from service.settings import PostgresSettings, load_settings
from service.standalone.embedded_postgres import EmbeddedPostgres
from service.standalone.environment import create_database, create_users, settings_of
from service.web.app import create_app

ROOT = Path(__file__).parent.parent
LOANS = "1,2019-12-05,1000.00\n2,2019-12-06,2000.00\n3,2020-06-01,50.00\n"
EVENTS = (
    "1,interest,2020-01-31,10.00\n1,payment,2020-02-29,110.50\n1,fee,2020-03-01,0.05\n2,payment,2020-02-01,2500.00\n"
)


def pytest_report_header() -> str:
    return f"core under test: {native.IMPLEMENTATION}"


_SAID: list[str] = []


@pytest.fixture
def say() -> Callable[[str], None]:
    """Puts a line of what was measured behind the tests' report."""
    return _SAID.append


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # one of several processes: the first one tells
        session.config.workeroutput["said"] = _SAID


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _SAID.extend(getattr(node, "workeroutput", {}).get("said", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _SAID:
        terminalreporter.section("measured")
        for line in _SAID:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key directory with the service's own pair and a platform's (`default`)."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("loaner", "default"):
        write_key_pair(folder, name)
    return folder


@pytest.fixture(scope="session")
def make_token(keys_dir: Path) -> Callable[..., str]:
    """Signs claims as the platform does. Claims given as None are left out."""

    def make(key: str = "default", algorithm: str = "RS256", headers: dict | None = None, **claims: object) -> str:
        now = int(time.time())
        base = {"iat": now, "nbf": 0, "exp": now + 3600, "userId": "u1", "username": "ann@example.com"}
        chosen = {**base, "scopes": "api:read", **claims}
        payload = {name: value for name, value in chosen.items() if value is not None}
        return jwt.encode(payload, (keys_dir / key).read_bytes(), algorithm=algorithm, headers=headers)

    return make


@pytest.fixture(scope="session")
def bearer(make_token: Callable[..., str]) -> dict[str, str]:
    """Headers that may read."""
    return {"Authorization": f"Bearer {make_token()}"}


@pytest.fixture(scope="session")
def bare_app() -> Flask:
    """An application that knows its routes, and has nothing to answer from."""
    return create_app(
        lookup=None,
        calendar=None,
        portfolio=None,
        security=SimpleNamespace(security_chain=SecurityChain(), context=None),
        health=None,
        issuer=SimpleNamespace(keys=None),
        clients=None,
        attempts=None,
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A real PostgreSQL of this test run's own, on a free loopback port."""
    folder = Path(tempfile.mkdtemp(prefix="loaner-tests-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "postgres")
    server.start()
    yield server
    server.stop("immediate")
    shutil.rmtree(server.home)
    shutil.rmtree(folder)


@pytest.fixture
def settings(postgres: EmbeddedPostgres) -> PostgresSettings:
    """Settings of Postgres for a fresh, migrated, empty database."""
    number = next(_numbers)
    name = f"test_{number}"
    create_database(postgres, name)
    chosen = settings_of(postgres).replace(database=name)
    migrate(chosen)
    create_users(chosen, postgres)
    return chosen


_numbers = iter(range(1, 100_000))


@pytest.fixture
def posting(settings: PostgresSettings) -> Iterator[Connection]:
    """A connection that may post."""
    with closing(connect(settings, "posting")) as connection:
        yield connection


@pytest.fixture
def admin(settings: PostgresSettings) -> Iterator[Connection]:
    """A connection of the tables' owner."""
    with closing(connect(settings, "admin")) as connection:
        yield connection


@pytest.fixture
def served(settings, posting, tmp_path, keys_dir):
    """Settings for an application whose ledger holds LOANS and EVENTS."""
    paths = tmp_path / "loans.csv", tmp_path / "events.csv"
    for path, content in zip(paths, (LOANS, EVENTS), strict=True):
        path.write_text(content)
    load(posting, *paths)
    chosen = load_settings(keys_dir=str(keys_dir), secret="s3cret-of-the-client", threads=2)
    return replace(chosen, postgres=settings)


@pytest.fixture
def client(served):
    """Flask's test client."""
    return build_app(served).test_client()


def sql(connection: Connection, query: str, *parameters: object) -> list[tuple]:
    """Run one statement in a transaction of its own and give its rows."""
    with connection, connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def refused(connection: Connection, query: str, *parameters: object) -> psycopg2.Error:
    """The error with which Postgres refuses a statement."""
    with pytest.raises(psycopg2.Error) as caught:
        sql(connection, query, *parameters)
    return caught.value
