"""The headers of replies, as the document tells of them."""

from typing import Any, cast

from pydantic import ConfigDict

Headers = dict[str, dict[str, Any]]


def _header(description: str, example: str, required: bool = True, **schema: Any) -> dict[str, Any]:
    schema = {"type": "string", "example": example, **schema}
    return {"description": description, "required": required, "schema": schema}


ETAG: Headers = {"ETag": _header("names this reply, for `If-None-Match`", '"0f1e2d3c4b5a69788796a5b4"')}
LEDGER_HEADERS: Headers = {
    **ETAG,
    "As-Of": _header(
        "whatever was committed before is in the reply; without it, the reply tells of a version, for ever",
        "2020-07-01T12:00:00.000Z",
        required=False,
        format="date-time",
    ),
    "Cache-Control": _header("whoever keeps it has to ask whether it still stands", "private, no-cache"),
}
NOT_KEPT: Headers = {"Cache-Control": _header("never", "no-store"), "Pragma": _header("the same", "no-cache")}
PUBLIC: Headers = {**ETAG, "Cache-Control": _header("for how many seconds it may be kept", "public, max-age=60")}
LOCATION: Headers = {"Location": _header("where it is", "/api/v1/loan/1001", format="uri-reference")}
REPLAYED: Headers = {
    "Idempotent-Replayed": _header("this request was done before", "true", required=False, enum=["true"])
}
ATTACHMENT: Headers = {
    "Content-Disposition": _header("a name for the file", 'attachment; filename="loan-1.csv"', required=False)
}
CHALLENGE: Headers = {"WWW-Authenticate": _header("what to come with", 'Bearer realm="microkubes"')}
RETRY_AFTER: Headers = {"Retry-After": _header("seconds", "1", pattern="^[0-9]+$")}


def optional_headers(headers: Headers) -> Headers:
    """The same ones, which some replies have."""
    return {name: {**header, "required": False} for name, header in headers.items()}


def with_headers(headers: Headers, **more: Any) -> ConfigDict:
    """The configuration of a reply's model, from which the framework reads what to tell beside its members."""
    return cast(ConfigDict, {"openapi_extra": {"headers": headers, **more}})


def not_modified(headers: Headers) -> dict[int | str, Any]:
    """The documentation of a reply that is not sent again. headers: those of the reply."""
    return {304: {"description": "the caller's `If-None-Match` names it: it is not sent again", "headers": headers}}
