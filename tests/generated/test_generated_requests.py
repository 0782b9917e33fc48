"""Thousands of requests that are made up from the document, valid and hostile: replies are what it says.

LOANER_MADE_UP says how many are made up of each route, beside several hundred on the edges of what it says.
"""

import os

import pytest

from service.runtime.bootstrap import build_app
from tests.conftest import sql
from tests.generated.generated_requests import DOCUMENT, ask_everything, operations_of

EXAMPLES = int(os.environ.get("LOANER_MADE_UP", "25"))
FEW = max(1, EXAMPLES // 5)  # where nearly every reply is a refusal
pytestmark = [
    pytest.mark.timeout(120 + 2 * EXAMPLES),
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),  # of a case that is shown nowhere
]


@pytest.fixture
def app(served):
    return build_app(served)


def bearing(make_token, *scopes):
    return {"Authorization": f"Bearer {make_token(scopes=' '.join(scopes))}"}


@pytest.fixture
def asked(app, say):
    """Gives the replies, in which nothing is wrong, and the operations that were asked."""

    def ask(headers, examples):
        replies = ask_everything(app, headers, examples)
        assert not replies.faults, "\n\n".join(dict.fromkeys(replies.faults))
        say(f"{replies.counted.total():,} requests that were made up were answered as documented")
        return replies, list(operations_of(app.test_client().get(DOCUMENT).json))

    return ask


def test_every_reply_is_as_documented(asked, make_token):
    replies, operations = asked(bearing(make_token, "api:read", "api:write"), EXAMPLES)
    for method, path, operation in operations:
        statuses = replies.of(method, path)
        assert statuses & {200, 201} or path == "/token", (method, path, statuses)  # nobody guesses a client
        assert 400 in statuses or "400" not in operation["responses"], (method, path, statuses)


def test_without_a_token_nothing_is_looked_at(asked):
    replies, operations = asked({}, FEW)
    for method, path, operation in operations:
        if "security" in operation:
            assert replies.of(method, path) == {401}, (method, path)


def test_a_token_that_may_only_read_posts_nothing(asked, make_token, posting):
    before = ledger(posting)
    replies, operations = asked(bearing(make_token, "api:read"), FEW)
    for method, path, operation in operations:
        if {"bearer": ["api:write"]} in operation.get("security", ()):
            assert replies.of(method, path) <= {401, 403}, (method, path)
    assert ledger(posting) == before


def ledger(connection):
    return [sql(connection, f"SELECT count(*) FROM {table}") for table in ("loans", "loan_events")]
