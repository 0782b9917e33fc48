"""Routes: the terms and schedules of a loan as they were recorded, in pages."""

from collections.abc import Iterator
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint

from service.domain.money import to_decimal_string
from service.errors import InvalidRequest, VersionNotReached
from service.ledger.agreement_log import AgreementLog, Record, Schedule, Terms
from service.ledger.event_log import EventLog, LoanState
from service.ledger.posting import to_rfc3339
from service.web.pagination import RecordsCursor
from service.web.schemas.loan_query import COMMON_RESPONSES, LoanPath, LoanQuery, check_one_state, page_as_of
from service.web.schemas.query_fields import Format, Limit, RecordsPageCursor
from service.web.schemas.recorded_agreement import (
    SCHEDULE_COLUMNS,
    TERMS_COLUMNS,
    ScheduleListReply,
    TermsListReply,
)
from service.web.schemas.table_reply import Table, json_or_csv_reply
from service.web.serializers import to_allocation_text

MAX_SCHEDULES = 20
"""The most schedules of a page: each may have 1,200 installments."""


class RecordsQuery(LoanQuery):
    """Query parameters: state of the loan, paging and format."""

    limit: Limit = 100
    cursor: RecordsPageCursor = None
    format: Format = None


def add_agreement_routes(routes: APIBlueprint, event_log: EventLog, agreement_log: AgreementLog) -> None:
    """Add the routes to a blueprint.

    Args:
        routes: The blueprint.
        event_log: Knows the loans' versions.
        agreement_log: Reads terms and schedules.
    """

    @routes.get(
        "/api/v1/loan/<loan_id>/terms",
        summary="List the terms of a loan",
        responses={200: TermsListReply, **COMMON_RESPONSES},
    )
    def list_terms(path: LoanPath, query: RecordsQuery) -> Response:
        """Return the loan's terms in the order in which they were recorded, with who posted them and why.

        `applies` says which of them apply from their effective dates on. `next_cursor` leads to the next page. All
        pages show the version of the first page.

        `text/csv`, selected by `Accept` or `format`, has the same pages, with a row for each record. The header `Link`
        leads to the next one.
        """
        as_of = page_as_of(query, query.cursor)
        _, page = _get_page(event_log, "terms", path, query)
        found = agreement_log.terms(page.loan_id, page.version, page.after, query.limit + 1)
        members = _page_members(page, query.limit, {}, [_terms_members(terms) for terms in found])
        rows = (members | _terms_row(terms) for terms in members["terms"])
        table = Table(f"loan-{page.loan_id}-terms", TERMS_COLUMNS, rows)
        return json_or_csv_reply(query.format, members, table, as_of, page.version)

    @routes.get(
        "/api/v1/loan/<loan_id>/schedule",
        summary="List the schedules of a loan",
        responses={200: ScheduleListReply, **COMMON_RESPONSES},
    )
    def list_schedules(path: LoanPath, query: RecordsQuery) -> Response:
        """Return the loan's schedules in the order in which they were recorded, with who posted them and why.

        `applies` says which of them apply from their effective dates on. `next_cursor` leads to the next page. All
        pages show the version of the first page. A page has at most 20 schedules.

        `text/csv`, selected by `Accept` or `format`, has the same pages, with a row for each installment. The header
        `Link` leads to the next one.
        """
        as_of = page_as_of(query, query.cursor)
        state, page = _get_page(event_log, "schedules", path, query)
        limit = min(query.limit, MAX_SCHEDULES)
        found = agreement_log.schedules(page.loan_id, page.version, page.after, limit + 1)
        records = [_schedule_members(schedule, state.exponent) for schedule in found]
        members = _page_members(page, limit, {"currency": state.currency}, records)
        rows = (members | row for schedule in members["schedules"] for row in _schedule_rows(schedule))
        table = Table(f"loan-{page.loan_id}-schedules", SCHEDULE_COLUMNS, rows)
        return json_or_csv_reply(query.format, members, table, as_of, page.version)


def _get_page(event_log: EventLog, kind: str, path: LoanPath, query: RecordsQuery) -> tuple[LoanState, RecordsCursor]:
    """Return the loan and the requested page. Other parameters must agree with a cursor."""
    check_one_state(query)
    page = query.cursor
    if page is None:
        state = event_log.state(path.loan_id, query.as_of_version, query.known_at)
        if state.version < query.min_version:
            raise VersionNotReached(path.loan_id, state.version, query.min_version)
        return state, RecordsCursor(kind, path.loan_id, state.version, 0)
    if (
        (page.kind, page.loan_id) != (kind, path.loan_id)
        or query.as_of_version not in (None, page.version)
        or query.min_version > page.version
        or (query.known_at and event_log.state(path.loan_id, known_at=query.known_at).version != page.version)
    ):
        raise InvalidRequest([("cursor", f"expected a cursor of {kind} of this loan and this version")])
    return event_log.state(page.loan_id, page.version), page


def _page_members(
    page: RecordsCursor, limit: int, members: dict[str, Any], found: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the members of a page, given its records, and one more if another page follows."""
    records, more = found[:limit], found[limit:]
    following = RecordsCursor(page.kind, page.loan_id, page.version, records[-1]["version"]) if more else None
    return {
        "loan_id": page.loan_id,
        **members,
        "version": page.version,
        page.kind: records,
        "next_cursor": str(following) if following else None,
    }


def _record_members(record: Record) -> dict[str, Any]:
    return {**record._asdict(), "recorded_at": to_rfc3339(record.recorded_at)}


def _terms_members(terms: Terms) -> dict[str, Any]:
    names = ("rate", "day_count", "allocation", "grace_days")
    return _record_members(terms.record) | {name: getattr(terms, name) for name in names}


def _schedule_members(schedule: Schedule, digits: int) -> dict[str, Any]:
    installments = [
        {"due_date": due_date, "amt": to_decimal_string(int(amount.scaleb(digits)), digits)}
        for due_date, amount in zip(schedule.due_dates, schedule.amounts, strict=True)
    ]
    return _record_members(schedule.record) | {"installments": installments, "method": schedule.method}


def _terms_row(terms: dict[str, Any]) -> dict[str, Any]:
    return {**terms, "allocation": to_allocation_text(terms["allocation"])}


def _schedule_rows(schedule: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each installment, with the method as in the body that posts a schedule."""
    method = schedule["method"]
    computed = schedule if method is None else {**schedule, **method, "method": method["name"]}
    for installment in schedule["installments"]:
        yield computed | installment
