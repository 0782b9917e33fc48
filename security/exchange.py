"""A request and a reply, as the chain and its providers see them."""

import json
from typing import Any


class Request:
    """Wraps a framework's request. Built for objects shaped as Flask's; what those lack reads as None."""

    def __init__(self, request: Any) -> None:
        self.wrapped_request = request

    def __getattr__(self, name: str) -> Any:
        # url, method, host, path, scheme, query_string, data, form, json, headers
        if name.startswith("_") or name == "wrapped_request":
            raise AttributeError(name)
        return getattr(self.wrapped_request, name, None)

    def get_header(self, header: str) -> str | None:
        """A header's value, or None."""
        headers = self.headers
        return headers.get(header) if headers else None


class Response:
    """What a provider wants to reply, when it wants to reply itself."""

    def __init__(self) -> None:
        self.ended = False
        self.status = "OK"
        self.status_code = 200
        self.headers: dict[str, str] = {}
        self._body: list[str] = []

    @property
    def modified(self) -> bool:
        """Whether a provider has put anything into this reply."""
        return self.ended or bool(self._body or self.headers) or self.status_code != 200 or self.status != "OK"

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
