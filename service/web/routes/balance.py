"""Routes: the balance of a loan on a date, with its explanation and parts.

CSV is selected by `format` only: if it depended on `Accept`, each plain reply would have to say so to caches.
"""

from typing import Any, Literal

from flask import Response
from flask_openapi3 import APIBlueprint
from pydantic.json_schema import SkipJsonSchema

from native import PARTS, day_number
from service.errors import InvalidRequest
from service.ledger.event_log import EventLog
from service.ledger.timeline_lookup import TimelineLookup
from service.web.explanation import explain
from service.web.schemas.common import only_if
from service.web.schemas.content_negotiation import json_or_csv, refuse_explanation_as_csv
from service.web.schemas.event import EventReply
from service.web.schemas.headers import LOAN_HEADERS
from service.web.schemas.loan_query import COMMON_RESPONSES, LoanPath, LoanQuery, get_snapshot
from service.web.schemas.parts import Parts
from service.web.schemas.query_fields import (
    BalanceDay,
    Currency,
    Day,
    Explain,
    FormatByParameter,
    LoanId,
    Money,
    PartsFlag,
    ProvenanceFlag,
    Version,
)
from service.web.schemas.replies import LoanLedgerReply, ledger_reply
from service.web.schemas.table_reply import Table, csv_reply
from service.web.serializers import add_provenance, balance_members, parts_members, to_allocation_text, tx_ids_of

COLUMNS = ("loan_id", "date", "balance", "currency", "version")
_CSV_EXAMPLE = f"{','.join(COLUMNS)}\r\n1,2020-07-01,9636.65,USD,10\r\n"


class LoanDayPath(LoanPath):
    """Path parameters: a loan and a date."""

    date: BalanceDay


class BalanceQuery(LoanQuery):
    """Query parameters: state of the loan, explanation, parts and format."""

    explain: Explain = False
    parts: PartsFlag = False
    provenance: ProvenanceFlag = False
    format: FormatByParameter = None


class BalanceReply(LoanLedgerReply):
    """The balance of a loan at the end of a day."""

    model_config = json_or_csv(_CSV_EXAMPLE, LOAN_HEADERS)

    loan_id: LoanId
    date: Day
    balance: Money
    currency: Currency
    version: Version
    start_date: Day | SkipJsonSchema[None] = only_if(
        "explain", "The date on which the loan starts. Before it, the balance is 0."
    )
    initial_amt: Money | SkipJsonSchema[None] = only_if("explain", "The principal.")
    events: list[EventReply] | SkipJsonSchema[None] = only_if(
        "explain", "The events that make up the balance, in order."
    )
    digest: str | SkipJsonSchema[None] = only_if(
        "explain", "The SHA-256 of the explanation; see docs/reference/api.md."
    )
    parts: Parts | SkipJsonSchema[None] = only_if("parts", "The parts of the balance.")
    allocation: list[Literal["fees", "interest", "principal"]] | SkipJsonSchema[None] = only_if(
        "parts", "The order in which payments are allocated."
    )


def add_balance_routes(routes: APIBlueprint, lookup: TimelineLookup, event_log: EventLog) -> None:
    """Add the route and its short form to a blueprint."""

    @routes.get(
        "/api/v1/loan/<loan_id>/<date>",
        summary="Get the balance of a loan on a date",
        responses={200: BalanceReply, **COMMON_RESPONSES},
    )
    def balance(path: LoanDayPath, query: BalanceQuery) -> Response:
        """Return the balance at the end of the day.

        It is the principal plus fees and interest, less payments, over all events dated on or before that day. Before
        the loan's start date it is 0.00.

        `text/csv`, selected by `format`, has one row. An explanation is JSON only; a statement has its events as CSV.
        """
        refuse_explanation_as_csv(query.format, query.explain)
        if query.provenance and not query.explain:
            raise InvalidRequest([("provenance", "expected only with `explain=true`")])
        snapshot = get_snapshot(lookup, path, query)
        members = balance_members(snapshot.timeline, path.date)
        if query.explain:
            members |= explain(members, snapshot.timeline, day_number(path.date))
            if query.provenance:
                add_provenance(members["events"], event_log.provenance(path.loan_id, tx_ids_of(members["events"])))
        if query.parts:
            members |= parts_members(snapshot.timeline, day_number(path.date))
        if query.format == "csv":
            return csv_reply(_to_table(members), lookup.as_of(snapshot), snapshot.timeline.version)
        return ledger_reply(lookup, snapshot, members)

    @routes.get(
        "/<loan_id>/<date>",
        summary="Get the balance of a loan on a date (short path)",
        responses={200: BalanceReply, **COMMON_RESPONSES},
    )
    def balance_short(path: LoanDayPath, query: BalanceQuery) -> Response:
        """Return the same reply as `/api/v1/loan/{loan_id}/{date}`."""
        return balance(path, query)  # type: ignore[no-any-return]


def _to_table(members: dict[str, Any]) -> Table:
    name = f"loan-{members['loan_id']}-{members['date']}"
    if "parts" not in members:
        return Table(name, COLUMNS, [members])
    parts = {**members["parts"], "allocation": to_allocation_text(members["allocation"])}
    return Table(name, (*COLUMNS, *PARTS, "allocation"), [members | parts])
