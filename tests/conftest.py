"""Fixtures of all tests: a real PostgreSQL, key pairs, tokens, an application."""

import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask_openapi3.utils
import hypothesis
import jwt
import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from werkzeug.routing import Rule

import native
from security import SecurityChain
from security.keys import key_file
from security.keys.generation import write_key_pair
from service.bulk_load.loader import load
from service.gateway.identity import Identity
from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.settings import PostgresSettings, Settings, load_settings
from service.standalone.embedded_postgres import EmbeddedPostgres
from service.standalone.environment import create_database, create_users, settings_of
from service.tokens import client_registry
from service.web.app import create_app
from tests.support.application import build_app
from tests.support.clusters import QUICK, ClusterSeed
from tests.support.run_folder import run_folder

TEMPLATE, LOADED_TEMPLATE = "template_loaner", "template_loaded"
ROOT = Path(__file__).parent.parent
LOANS = "1,2019-12-05,1000.00\n2,2019-12-06,2000.00\n3,2020-06-01,50.00\n"
EVENTS = (
    "1,interest,2020-01-31,10.00\n1,payment,2020-02-29,110.50\n1,fee,2020-03-01,0.05\n2,payment,2020-02-01,2500.00\n"
)


def pytest_configure() -> None:
    """Interrupt the run on SIGINT and SIGTERM, so that fixtures stop what they started.

    Examples of hypothesis may take any time: a machine that others use says nothing about their speed. They are the
    same in each run, except in `make fuzz`.

    Bytecode is kept, even if the environment forbids it: a run starts hundreds of processes that import the service,
    and each of its workers rewrites the assertions of all test modules.
    """
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # for the workers and everything that tests start
    is_fuzzing = "LOANER_GENERATED" in os.environ
    hypothesis.settings.register_profile("tests", deadline=None, derandomize=not is_fuzzing)
    hypothesis.settings.load_profile("tests")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the system tests first: they take longest, and a long test at the end would run alone."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/system/"))


def pytest_report_header() -> str:
    return f"core under test: {native.IMPLEMENTATION}"


_MEASUREMENTS: list[str] = []


@pytest.fixture
def report_measurement() -> Callable[[str], None]:
    """Append a line to the section `measured` of the report."""
    return _MEASUREMENTS.append


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a worker process: the main process prints
        session.config.workeroutput["measurements"] = _MEASUREMENTS


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _MEASUREMENTS.extend(getattr(node, "workeroutput", {}).get("measurements", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _MEASUREMENTS:
        terminalreporter.section("measured")
        for line in _MEASUREMENTS:
            terminalreporter.line(line)


@pytest.fixture(scope="session", autouse=True)
def hangups_end_started_processes() -> None:
    """Let SIGHUP end the processes that tests start, although `nohup` makes this process ignore it.

    A process inherits an ignored signal, but not a handler.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(scope="session", autouse=True)
def cheap_keys_and_secrets() -> Iterator[None]:
    """Parse each private key once and hash each client's secret once in a run.

    OpenSSL proves the numbers of a private key consistent whenever it parses one, and Argon2 is slow by design; most
    of an application's start would go into both.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (key_file, jwt.algorithms):  # the service parses its own key, and tests sign tokens
            patch.setattr(module, "load_pem_private_key", cache(module.load_pem_private_key))
        patch.setattr(client_registry, "hash_secret", cache(client_registry.hash_secret))
        yield


@pytest.fixture(scope="session", autouse=True)
def cheap_applications() -> Iterator[None]:
    """Derive the JSON schema of each model once in a run, and compile what builds a route's URL when it is used.

    Both are most of an application's start.
    """
    schema, compiled = flask_openapi3.utils.get_model_schema, Rule._compile_builder
    derived = cache(lambda *arguments, **options: pickle.dumps(schema(*arguments, **options)))

    def compile_later(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        build = cache(lambda: compiled(rule, append_unknown))
        return lambda *arguments, **options: build()(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            flask_openapi3.utils,
            "get_model_schema",
            lambda *arguments, **options: pickle.loads(derived(*arguments, **options)),
        )
        patch.setattr(Rule, "_compile_builder", compile_later)
        yield


@pytest.fixture(scope="session")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key directory with the service's pair and the platform's (`default`)."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("loaner", "default"):
        write_key_pair(folder, name)
    return folder


@pytest.fixture(scope="session")
def make_token(keys_dir: Path) -> Callable[..., str]:
    """Return a function that signs claims as the platform does. Claims that are None are omitted."""

    def make(key: str = "default", algorithm: str = "RS256", headers: dict | None = None, **claims: object) -> str:
        now = int(time.time())
        base = {"iat": now, "nbf": 0, "exp": now + 3600, "userId": "u1", "username": "ann@example.com"}
        chosen = {**base, "scopes": "api:read", **claims}
        payload = {name: value for name, value in chosen.items() if value is not None}
        return jwt.encode(payload, (keys_dir / key).read_bytes(), algorithm=algorithm, headers=headers)

    return make


@pytest.fixture(scope="session")
def bearer(make_token: Callable[..., str]) -> dict[str, str]:
    """Headers with a token that may read."""
    return {"Authorization": f"Bearer {make_token()}"}


@pytest.fixture(scope="session")
def bare_app() -> Flask:
    """An application with all routes and without any backend."""
    return create_app(
        identity=Identity("loaner", list),
        lookup=None,
        calendar=None,
        portfolio=None,
        book=None,
        event_log=None,
        agreement_log=None,
        search=None,
        security=SimpleNamespace(security_chain=SecurityChain(), context=None),
        health=None,
        issuer=SimpleNamespace(keys=None, can_sign=lambda: False),
        clients=None,
        attempts=None,
    )


@pytest.fixture(scope="session", autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of this process's temporary files. It is removed at the end, with every server started in it."""
    tmp_path_factory.getbasetemp()  # `tmp_path` stays outside, so that a failed test's files can be read
    with run_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def cluster_seed(own_folder: Path) -> ClusterSeed:
    """A new PostgreSQL cluster to copy."""
    seed = ClusterSeed(own_folder / "seed")
    seed.create()
    return seed


@pytest.fixture(scope="session")
def postgres(own_folder: Path, cluster_seed: ClusterSeed) -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL on a free loopback port, with the service's users."""
    server = EmbeddedPostgres(cluster_seed.copy_to(own_folder / "postgres"), QUICK)
    server.start()
    yield server
    server.stop("immediate")


class Databases:
    """Creates databases as copies of a migrated template, and drops them.

    Args:
        connection: A superuser's connection, in autocommit mode.
        base: Settings that reach the server.
        folder: A folder for the files of the ledger that is loaded.
    """

    def __init__(self, connection: Connection, base: PostgresSettings, folder: Path) -> None:
        self._connection = connection
        self._base = base
        self._folder = folder
        self._numbers = count(1)

    @contextmanager
    def create(self, is_loaded: bool = False) -> Iterator[PostgresSettings]:
        """Settings for a new database, which exists until the end of the block.

        Args:
            is_loaded: Whether its ledger holds LOANS and EVENTS.
        """
        name = f"test_{next(self._numbers)}"
        template = self._loaded_template if is_loaded else TEMPLATE
        with self._connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
            yield self._base.replace(database=name)
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @cached_property
    def _loaded_template(self) -> str:
        with self._connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {LOADED_TEMPLATE} TEMPLATE {TEMPLATE} STRATEGY file_copy")
        with closing(connect(self._base.replace(database=LOADED_TEMPLATE), "posting")) as connection:
            load_ledger(connection, self._folder)
        return LOADED_TEMPLATE


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Creates migrated databases, empty or loaded."""
    base = settings_of(postgres)
    template = base.replace(database=TEMPLATE)
    create_database(postgres, TEMPLATE)
    migrate(template)
    create_users(template, postgres)
    with closing(connect(base.replace(database="postgres"), "admin")) as connection:
        connection.autocommit = True
        yield Databases(connection, base, tmp_path_factory.mktemp("ledger"))


@pytest.fixture
def settings(databases: Databases, request: pytest.FixtureRequest) -> Iterator[PostgresSettings]:
    """Settings for a migrated database of this test. It is empty unless the test has `served` or `client`."""
    with databases.create(is_loaded=not {"served", "client"}.isdisjoint(request.fixturenames)) as chosen:
        yield chosen


@pytest.fixture
def posting(settings: PostgresSettings) -> Iterator[Connection]:
    """A connection of the posting user."""
    with closing(connect(settings, "posting")) as connection:
        yield connection


@pytest.fixture
def admin(settings: PostgresSettings) -> Iterator[Connection]:
    """A connection of the owner of the tables."""
    with closing(connect(settings, "admin")) as connection:
        yield connection


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Settings:
    """Settings for an application whose ledger holds LOANS and EVENTS.

    Tests marked `shared_ledger` share one ledger, unless they also use its database directly.
    """
    if _shares_ledger(request):
        return request.getfixturevalue("shared_served")
    return serving(request.getfixturevalue("settings"), request.getfixturevalue("keys_dir"))


@pytest.fixture
def read_only(served: Settings) -> Iterator[Connection]:
    """A connection that reads the ledger of `served`, which stays shared."""
    with closing(connect(served.postgres, "reader")) as connection:
        yield connection


@pytest.fixture
def client(request: pytest.FixtureRequest) -> FlaskClient:
    """Flask's test client of an application over `served`."""
    if _shares_ledger(request):
        return request.getfixturevalue("shared_app").test_client()
    return build_app(request.getfixturevalue("served")).test_client()


def _shares_ledger(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("shared_ledger") is not None and not (
        {"settings", "posting", "admin"} & set(request.fixturenames)
    )


@pytest.fixture(scope="session")
def shared_served(databases: Databases, keys_dir: Path) -> Iterator[Settings]:
    """The settings `served`, shared by tests that only read."""
    with databases.create(is_loaded=True) as chosen:
        yield serving(chosen, keys_dir)
        with closing(connect(chosen, "admin")) as connection:
            written = sql(connection, "SELECT count(*), sum(version) FROM loans")
    assert written == [(3, 4)], "a test that is marked shared_ledger has written to it"


@pytest.fixture(scope="session")
def shared_app(shared_served: Settings) -> Flask:
    """An application over the shared ledger."""
    return build_app(shared_served)


def load_ledger(connection: Connection, folder: Path) -> None:
    """Load LOANS and EVENTS by way of files in a folder."""
    paths = folder / "loans.csv", folder / "events.csv"
    for path, content in zip(paths, (LOANS, EVENTS), strict=True):
        path.write_text(content)
    load(connection, *paths)


def serving(settings: PostgresSettings, keys_dir: Path) -> Settings:
    """Settings of an application over a test's database."""
    return replace(load_settings(keys_dir=str(keys_dir), secret="s3cret-of-the-client", threads=2), postgres=settings)


def sql(connection: Connection, query: str, *parameters: object) -> list[tuple]:
    """Run one statement in its own transaction and return its rows."""
    with connection, connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def expect_error(connection: Connection, query: str, *parameters: object) -> psycopg2.Error:
    """Return the error with which PostgreSQL rejects a statement."""
    with pytest.raises(psycopg2.Error) as caught:
        sql(connection, query, *parameters)
    return caught.value
