"""The JSON client: bounds on size and time, and no redirects."""

import io
import math
from types import SimpleNamespace

import pytest
import requests
from urllib3 import HTTPResponse

from security.json_client import BodyTooLarge, FetchFailed, bounded_body, fetch_json
from tests.fakes.http_server import serving


@pytest.mark.parametrize("content", [b'{"a": "' + b"x" * 1_100_000 + b'"}', b"[" * 200_000])
def test_oversized_or_deeply_nested_body_is_rejected(content):
    with serving(lambda *_: (200, content)) as url, pytest.raises(FetchFailed):
        fetch_json("GET", url)


def test_redirect_is_not_followed():
    requested = []

    def answer(method, path, headers, body):
        requested.append(path)
        return (302, b"") if path == "/" else (200, b"{}")

    with serving(answer) as url, pytest.raises(FetchFailed, match="answered 302"):
        fetch_json("GET", f"{url}/")
    assert requested == ["/"]


def test_bounded_body_enforces_the_limit_and_the_deadline():
    def response():
        return SimpleNamespace(raw=HTTPResponse(io.BytesIO(b"content"), preload_content=False))

    assert bounded_body(response(), deadline=math.inf, limit=7) == b"content"
    with pytest.raises(BodyTooLarge, match="more than 6 bytes"):
        bounded_body(response(), deadline=math.inf, limit=6)
    with pytest.raises(requests.Timeout, match="took too long"):
        bounded_body(response(), deadline=0, limit=7)
