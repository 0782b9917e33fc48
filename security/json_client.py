"""Asking an authorization server for a JSON object, within bounds."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

TIMEOUT_S = (3.0, 5.0)  # to connect, to answer
MAX_BYTES = 1_000_000
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class FetchFailed(Exception):
    """The server gave no JSON object. The message names the URL and says why, and holds no secret."""


def is_protected(url: str) -> bool:
    """Whether nobody on the way can change what a URL answers: it is https, or http on this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


def require_https(url: str) -> str:
    """The URL itself. Raises: ValueError unless it is protected."""
    if not is_protected(url):
        raise ValueError(f"{url!r} is not an https URL")
    return url


def fetch_json(method: str, url: str, **options: Any) -> dict[str, Any]:
    """The JSON object at a URL. options: as `requests.request` takes them. Raises: FetchFailed."""
    try:
        with requests.request(method, url, timeout=TIMEOUT_S, allow_redirects=False, stream=True, **options) as reply:
            if reply.status_code != 200:
                raise FetchFailed(f"{url} answered {reply.status_code}")
            body = _content(reply, url)
    except (requests.RequestException, HTTPError, OSError) as err:
        raise FetchFailed(f"{url} cannot be asked: {type(err).__name__}") from err
    try:
        members = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise FetchFailed(f"{url} did not answer JSON") from err
    if not isinstance(members, dict):
        raise FetchFailed(f"{url} did not answer a JSON object")
    return members


def _content(reply: requests.Response, url: str) -> bytes:
    """The body, within a time and a size: the library's own timeout begins anew with every byte."""
    until, content = time.monotonic() + TIMEOUT_S[1], b""
    while piece := reply.raw.read1(65536, decode_content=True):
        content += piece
        if len(content) > MAX_BYTES:
            raise FetchFailed(f"{url} answered more than {MAX_BYTES} bytes")
        if time.monotonic() > until:
            raise FetchFailed(f"{url} took too long to answer")
    return content
