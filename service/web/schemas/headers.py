"""Documentation of reply headers."""

from typing import Any, cast

from pydantic import ConfigDict

Headers = dict[str, dict[str, Any]]


def _header(description: str, example: str, required: bool = True, **schema: Any) -> dict[str, Any]:
    schema = {"type": "string", "example": example, **schema}
    return {"description": description, "required": required, "schema": schema}


ETAG: Headers = {
    "ETag": _header("Identifies this reply. Send it in `If-None-Match` to revalidate.", '"0f1e2d3c4b5a69788796a5b4"')
}
LOAN_ETAG: Headers = {
    "ETag": _header(
        "The loan's version, and a digest of this reply. Send it in `If-None-Match` to revalidate, or in `If-Match` to "
        "post to this version only.",
        '"2-0f1e2d3c4b5a69788796a5b4"',
    )
}
LEDGER_HEADERS: Headers = {
    **ETAG,
    "As-Of": _header(
        "Every event committed before this time is included. Absent if the reply is immutable.",
        "2020-07-01T12:00:00.000Z",
        required=False,
        format="date-time",
    ),
    "Cache-Control": _header("Caches must revalidate.", "private, no-cache"),
}
LOAN_HEADERS: Headers = {**LEDGER_HEADERS, **LOAN_ETAG}
NEXT_LINK: Headers = {
    "Link": _header(
        "The URL of the next page, with `rel=next`. Absent on the last page.",
        '</api/v1/loans?cursor=WzNd>; rel="next"',
        required=False,
    )
}
NEXT_CSV_LINK: Headers = {
    "Link": _header(
        "The URL of the next page of CSV, with `rel=next`. Absent on the last page, and from JSON.",
        '</api/v1/loan/1/events?format=csv&cursor=WzEs>; rel="next"',
        required=False,
    )
}
NO_STORE: Headers = {
    "Cache-Control": _header("The reply must not be stored.", "no-store"),
    "Pragma": _header("The same for HTTP/1.0 caches.", "no-cache"),
}
PUBLIC: Headers = {
    **ETAG,
    "Cache-Control": _header("The number of seconds for which the reply may be cached.", "public, max-age=60"),
}
LOCATION: Headers = {"Location": _header("The URL of the loan.", "/api/v1/loan/1001", format="uri-reference")}
REPLAYED: Headers = {
    "Idempotent-Replayed": _header(
        "The request was executed before; this is its first reply.", "true", required=False, enum=["true"]
    )
}
ATTACHMENT: Headers = {
    "Content-Disposition": _header(
        "The suggested file name of CSV.", 'attachment; filename="loan-1.csv"', required=False
    )
}
CHALLENGE: Headers = {"WWW-Authenticate": _header("The authentication that is required.", 'Bearer realm="microkubes"')}
RETRY_AFTER: Headers = {"Retry-After": _header("The number of seconds after which to retry.", "1", pattern="^[0-9]+$")}


def optional_headers(headers: Headers) -> Headers:
    """Return the headers, documented as optional."""
    return {name: {**header, "required": False} for name, header in headers.items()}


def with_headers(headers: Headers, **more: Any) -> ConfigDict:
    """Document the headers of a reply, and `more`. For `model_config`."""
    return cast(ConfigDict, {"openapi_extra": {"headers": headers, **more}})


def not_modified(headers: Headers) -> dict[int | str, Any]:
    """Return the documentation of 304 for a reply with these headers."""
    return {304: {"description": "Not modified: `If-None-Match` matches the current reply.", "headers": headers}}
