"""A browser without JavaScript: it keeps cookies, and sends what browsers send."""

import pytest
from werkzeug.test import Client

from tests.support.application import build_app
from tests.support.settings import with_changes

ID, SECRET = "loaner-client", "s3cret-of-the-client"
CLIENT = {"client_id": ID, "client_secret": SECRET}
COOKIE, SECURE_COOKIE = "loaner", "__Secure-loaner"


@pytest.fixture
def signed_in(client, make_token):
    """A client that has pasted a token."""
    assert client.post("/app/sign-in", data={"token": make_token()}).status_code == 303
    return client


@pytest.fixture
def bare(client):
    """A client that keeps no cookies, so that a test can send its own."""
    return Client(client.application, use_cookies=False)


@pytest.fixture
def app_with(served):
    """Builds an application with other settings, and returns a client of it."""

    def build(**changes):
        return build_app(with_changes(served, **changes)).test_client()

    return build
