"""Replies from the ledger that are JSON or a table as CSV."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from service.web.csv_table import to_csv
from service.web.schemas.content_negotiation import CSV_TYPE, attachment, wants_csv
from service.web.schemas.replies import conditional
from service.web.serializers import ledger_headers, to_json

LOAN_DAY_COLUMNS = ("loan_id", "date", "currency", "version")
"""The first columns of a table about a loan on a day."""


@dataclass(frozen=True)
class Table:
    """The content of a reply as a table.

    Attributes:
        name: The name of its file, without the ending.
        columns: The names of its columns, which are those of the JSON members.
        rows: The members of each row. They are read only for CSV.
    """

    name: str
    columns: Sequence[str]
    rows: Iterable[Mapping[str, Any]]


def loan_day(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that each row of a table about a loan on a day has."""
    return {name: members[name] for name in LOAN_DAY_COLUMNS}


def json_or_csv_reply(
    format: str | None,
    members: dict[str, Any],
    table: Table,
    as_of: datetime | None,
    version: int | None = None,
    links_json: bool = False,
) -> Response:
    """Build a reply in the format that the client prefers, or 304 if `If-None-Match` matches it.

    Args:
        format: As for `wants_csv`.
        members: The members of the JSON. `next_cursor` leads to the next page, if there is one.
        table: The same as a table. A header leads to its next page.
        as_of: As for `ledger_headers`.
        version: As for `ledger_headers`.
        links_json: Whether the header leads to the next page of JSON as well.
    """
    is_csv = wants_csv(format)
    if is_csv:
        response = csv_reply(table, as_of, version)
    else:
        body, headers = to_json(members, as_of, version)
        response = conditional(Response(body, headers=headers))
    cursor = members.get("next_cursor")
    if cursor is not None and (is_csv or links_json):
        response.headers["Link"] = _next_link(cursor, format)
    response.vary.add("Accept")
    return response


def csv_reply(table: Table, as_of: datetime | None, version: int | None = None) -> Response:
    """Build a reply with a table, or 304 if `If-None-Match` matches it.

    Args:
        table: The table.
        as_of: As for `ledger_headers`.
        version: As for `ledger_headers`.
    """
    body = to_csv(table.columns, table.rows)
    headers = [*ledger_headers(CSV_TYPE, body, as_of, version), attachment(f"{table.name}.csv")]
    return conditional(Response(body, headers=headers))


def _next_link(cursor: str, format: str | None) -> str:
    """Return the link to the next page (RFC 8288), with the same limit and, unless Accept decides, format."""
    given = {"limit": request.args.get("limit"), "format": format, "cursor": cursor}
    query = urlencode({name: value for name, value in given.items() if value is not None})
    url = f"{request.script_root}{request.path}?{query}"
    return f'<{url}>; rel="next"'
