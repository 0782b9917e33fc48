"""Asking another server for JSON: within bounds, or not at all."""

import pytest

from security.json_client import FetchFailed, fetch_json
from tests.fakes.http_server import serving


@pytest.mark.parametrize("content", [b'{"a": "' + b"x" * 1_100_000 + b'"}', b"[" * 200_000])
def test_a_server_that_floods_is_not_listened_to(content):
    with serving(lambda *_: (200, content)) as url, pytest.raises(FetchFailed):
        fetch_json("GET", url)


def test_a_redirect_is_not_followed():
    asked = []

    def answer(method, path, headers, body):
        asked.append(path)
        return (302, b"") if path == "/" else (200, b"{}")

    with serving(answer) as url, pytest.raises(FetchFailed, match="answered 302"):
        fetch_json("GET", f"{url}/")
    assert asked == ["/"]
