"""Valid and malformed requests, generated from the OpenAPI document, get the documented replies.

LOANER_GENERATED is the number of generated requests per route. Several hundred at the limits of the schemas are added.
"""

import os

import pytest

from tests.conftest import sql
from tests.generated.generated_requests import DOCUMENT, list_operations, send_generated_requests
from tests.support.application import build_app

EXAMPLES = int(os.environ.get("LOANER_GENERATED", "25"))
FEW = max(1, EXAMPLES // 5)  # if nearly every request is rejected
pytestmark = [
    pytest.mark.timeout(120 + 2 * EXAMPLES),
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),  # of a request that is not printed
]


@pytest.fixture
def app(served):
    return build_app(served)


def token_headers(make_token, *scopes):
    return {"Authorization": f"Bearer {make_token(scopes=' '.join(scopes))}"}


@pytest.fixture
def send_requests(app, report_measurement):
    """Sends generated requests, checks that no reply has faults, and returns the replies and the operations."""

    def send(headers, examples):
        replies = send_generated_requests(app, headers, examples)
        assert not replies.faults, "\n\n".join(dict.fromkeys(replies.faults))
        report_measurement(f"{replies.counted.total():,} generated requests got the documented replies")
        return replies, list(list_operations(app.test_client().get(DOCUMENT).json))

    return send


def test_every_reply_is_as_documented(send_requests, make_token):
    replies, operations = send_requests(token_headers(make_token, "api:read", "api:write"), EXAMPLES)
    for method, path, operation in operations:
        statuses = replies.statuses(method, path)
        # Generated credentials are always wrong, so /token issues nothing.
        assert statuses & {200, 201} or path == "/token", (method, path, statuses)
        has_input = "parameters" in operation or "requestBody" in operation
        assert 400 in statuses or not has_input, (method, path, statuses)


def test_requests_without_a_token_are_401(send_requests):
    replies, operations = send_requests({}, FEW)
    for method, path, operation in operations:
        if "security" in operation:
            assert replies.statuses(method, path) == {401}, (method, path)


def test_a_read_only_token_cannot_post(send_requests, make_token, posting):
    before = count_rows(posting)
    replies, operations = send_requests(token_headers(make_token, "api:read"), FEW)
    for method, path, operation in operations:
        if {"bearer": ["api:write"]} in operation.get("security", ()):
            assert replies.statuses(method, path) <= {401, 403}, (method, path)
    assert count_rows(posting) == before


def count_rows(connection):
    return [sql(connection, f"SELECT count(*) FROM {table}") for table in ("loans", "loan_events")]
