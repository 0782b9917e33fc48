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


def json_or_csv_reply(
    format: str | None, members: dict[str, Any], table: Table, as_of: datetime | None, version: int | None = None
) -> Response:
    """Build a reply in the format that the client prefers, or 304 if `If-None-Match` matches it.

    Args:
        format: As for `wants_csv`.
        members: The members of the JSON. `next_cursor` leads to the next page, if there is one.
        table: The same as a table. A header leads to its next page.
        as_of: As for `ledger_headers`.
        version: As for `ledger_headers`.
    """
    if wants_csv(format):
        response = csv_reply(table, as_of, version, members.get("next_cursor"))
    else:
        body, headers = to_json(members, as_of, version)
        response = conditional(Response(body, headers=headers))
    response.vary.add("Accept")
    return response


def csv_reply(
    table: Table, as_of: datetime | None, version: int | None = None, next_cursor: str | None = None
) -> Response:
    """Build a reply with a table, or 304 if `If-None-Match` matches it.

    Args:
        table: The table.
        as_of: As for `ledger_headers`.
        version: As for `ledger_headers`.
        next_cursor: The cursor of the next page.
    """
    body = to_csv(table.columns, table.rows)
    headers = [*ledger_headers(CSV_TYPE, body, as_of, version), attachment(f"{table.name}.csv")]
    if next_cursor is not None:
        headers.append(next_link(next_cursor))
    return conditional(Response(body, headers=headers))


def next_link(cursor: str) -> tuple[str, str]:
    """Return the header with the URL of the next page (RFC 8288), in the format and of the size of this one."""
    kept = {name: request.args[name] for name in ("limit", "format") if name in request.args}
    url = f"{request.script_root}{request.path}?{urlencode({**kept, 'cursor': cursor})}"
    return "Link", f'<{url}>; rel="next"'
