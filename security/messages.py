"""A request and a reply, as the chain and its providers see them."""

import json
from typing import Any


def _of_request(name: str, meaning: str) -> property:
    def read(self: "Request") -> Any:
        return getattr(self.wrapped_request, name, None)

    return property(read, doc=f"{meaning}, or None.")


class Request:
    """Wraps a framework's request. Built for objects shaped as Flask's; what those lack reads as None."""

    url = _of_request("url", "The full URL")
    method = _of_request("method", "The HTTP method")
    host = _of_request("host", "The host that was asked for")
    path = _of_request("path", "The path")
    scheme = _of_request("scheme", "http or https")
    query_string = _of_request("query_string", "The query string")
    data = _of_request("data", "The raw body")
    form = _of_request("form", "The form's fields")
    json = _of_request("json", "The decoded JSON body")
    headers = _of_request("headers", "The headers, a mapping that ignores case")

    def __init__(self, request: Any) -> None:
        self.wrapped_request = request

    def get_header(self, header: str) -> str | None:
        """A header's value, or None."""
        headers = self.headers
        return headers.get(header) if headers is not None else None  # whether it is empty takes counting

    def get_data(self) -> Any:
        """The raw body, or None."""
        return self._call("get_data")

    def get_json(self) -> Any:
        """The decoded JSON body, or None."""
        return self._call("get_json")

    def get_form(self) -> Any:
        """The form's fields, or None."""
        return self._call("get_form")

    def _call(self, name: str) -> Any:
        method = getattr(self.wrapped_request, name, None)
        return method() if method is not None else None


class Response:
    """What a provider wants to reply, when it wants to reply itself."""

    def __init__(self) -> None:
        self.ended = False
        self.status = "OK"
        self.status_code = 200
        self.headers: dict[str, str] = {}
        self._body: list[str] = []
        self._modified = False

    @property
    def modified(self) -> bool:
        """Whether a provider wants to reply with this. Headers alone are added to the reply that follows."""
        return self._modified or self.ended or bool(self._body) or self.status_code != 200 or self.status != "OK"

    @modified.setter
    def modified(self, value: bool) -> None:
        self._modified = value

    def set_header(self, header: str, value: str) -> None:
        """Set a header of the reply."""
        self.headers[header] = value

    def write(self, data: str) -> None:
        """Add text to the body."""
        self._body.append(data)

    def write_json(self, data: Any) -> None:
        """Add `data` to the body as JSON; text is taken as JSON already."""
        self.set_header("Content-Type", "application/json")
        self.write(data if isinstance(data, str) else json.dumps(data))

    def get_response_body(self) -> str:
        """The body as text."""
        return "".join(self._body)

    def end(self, code: int | None = None, status: str | None = None) -> None:
        """Reply with this, now: the chain asks no further provider."""
        self.status_code = self.status_code if code is None else code
        self.status = self.status if status is None else status
        self.ended = True
