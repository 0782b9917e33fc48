"""Requests and responses as security providers see them."""

import json
from typing import Any


def _request_attribute(name: str, meaning: str) -> property:
    def read(self: "Request") -> Any:
        return getattr(self.wrapped_request, name, None)

    return property(read, doc=f"{meaning}, or None.")


class Request:
    """A framework's request.

    Args:
        request: An object with the attributes of a Flask request. Missing attributes read as None.
    """

    url = _request_attribute("url", "The full URL")
    method = _request_attribute("method", "The HTTP method")
    host = _request_attribute("host", "The requested host")
    path = _request_attribute("path", "The path")
    scheme = _request_attribute("scheme", "http or https")
    query_string = _request_attribute("query_string", "The query string")
    data = _request_attribute("data", "The raw body")
    form = _request_attribute("form", "The form fields")
    json = _request_attribute("json", "The decoded JSON body")
    args = _request_attribute("args", "The query parameters, a mapping of names to first values")
    cookies = _request_attribute("cookies", "The cookies, a mapping")
    headers = _request_attribute("headers", "The headers, a mapping that ignores case")

    def __init__(self, request: Any) -> None:
        self.wrapped_request = request

    def get_header(self, header: str) -> str | None:
        """Return the value of a header, or None."""
        headers = self.headers
        # Not `if headers`: Werkzeug counts all headers to decide whether there are any.
        return headers.get(header) if headers is not None else None

    def get_cookie(self, cookie: str) -> str | None:
        """Return the value of a cookie, or None."""
        cookies = self.cookies
        return cookies.get(cookie) if cookies is not None else None

    def get_data(self) -> Any:
        """Return the raw body, or None."""
        return self._call("get_data")

    def get_json(self) -> Any:
        """Return the decoded JSON body, or None."""
        return self._call("get_json")

    def get_form(self) -> Any:
        """Return the form fields, or None."""
        return self._call("get_form")

    def _call(self, name: str) -> Any:
        method = getattr(self.wrapped_request, name, None)
        return method() if method is not None else None


class Response:
    """A response that a provider may complete in place of the application."""

    def __init__(self) -> None:
        self.ended = False
        self.status = "OK"
        self.status_code = 200
        self.headers: dict[str, str] = {}
        self._body: list[str] = []
        self._modified = False

    @property
    def modified(self) -> bool:
        """Whether to send this response. If only headers are set, they are added to the application's response."""
        return self._modified or self.ended or bool(self._body) or self.status_code != 200 or self.status != "OK"

    @modified.setter
    def modified(self, value: bool) -> None:
        self._modified = value

    def set_header(self, header: str, value: str) -> None:
        """Set a header."""
        self.headers[header] = value

    def write(self, data: str) -> None:
        """Append text to the body."""
        self._body.append(data)

    def write_json(self, data: Any) -> None:
        """Append JSON to the body. A string is taken as JSON text."""
        self.set_header("Content-Type", "application/json")
        self.write(data if isinstance(data, str) else json.dumps(data))

    def get_response_body(self) -> str:
        """Return the body."""
        return "".join(self._body)

    def end(self, code: int | None = None, status: str | None = None) -> None:
        """Complete the response; the chain stops here.

        Args:
            code: The HTTP status code; unchanged if None.
            status: The reason phrase; unchanged if None.
        """
        self.status_code = self.status_code if code is None else code
        self.status = self.status if status is None else status
        self.ended = True
