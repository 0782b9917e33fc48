"""The address of a loan's views: what forms send is understood, and a link says all that a view shows."""

from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from service.errors import InvalidRequest
from service.web.page.filters import in_utc
from service.web.page.loan_address import LoanAddress, LoanViewQuery, parse_known_at

NOON = datetime(2020, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-07-01T12:00", NOON),
        ("2020-07-01 12:00", NOON),
        ("2020-07-01T12:00:00", NOON),
        ("2020-07-01T12:00:00.25", NOON.replace(microsecond=250_000)),
        ("2020-07-01T12:00:00Z", NOON),
        ("2020-07-01T14:00:00+02:00", NOON),
    ],
)
def test_a_time_is_read_as_people_and_as_the_api_write_it(text, expected):
    assert parse_known_at(text) == expected


@pytest.mark.parametrize(
    "text", ["2020-07-01", "12:00", "2020-02-30T12:00", "2020-07-01T25:00", "now", "2020-07-01T12"]
)
def test_what_is_no_time_is_rejected(text):
    with pytest.raises(ValueError, match="expected a time"):
        parse_known_at(text)


@pytest.mark.parametrize("microsecond", [0, 250_000, 250_001, 999_999])
def test_a_time_is_read_as_the_page_shows_it(microsecond):
    moment = NOON.replace(microsecond=microsecond)
    for text in (in_utc(moment), f"{in_utc(moment)} UTC", f"{in_utc(moment)}Z"):
        assert parse_known_at(text) == moment


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "9" * 30, "\u0663"])
def test_what_is_no_page_is_rejected(text):
    with pytest.raises(ValidationError, match="expected a whole number"):
        LoanViewQuery.model_validate({"page": text})


def test_two_states_are_rejected():
    query = LoanViewQuery.model_validate({"known_at": "2020-07-01T12:00", "as_of_version": "3"})
    with pytest.raises(InvalidRequest, match="cannot be combined"):
        LoanAddress.parse("1", query)


def test_the_query_of_an_address_leads_to_the_same_address():
    given = {"date": "2020-07-01", "from": "2020-01-01", "to": "2020-12-31", "known_at": "2020-07-01T12:00:00.000001Z"}
    address = LoanAddress.parse("7", LoanViewQuery.model_validate(given))
    again = {name: str(value) for name, value in address.query.items() if value is not None}
    assert again == given
    assert LoanAddress.parse("7", LoanViewQuery.model_validate(again)) == address
    assert address == LoanAddress(
        7, date(2020, 7, 1), date(2020, 1, 1), date(2020, 12, 31), NOON.replace(microsecond=1)
    )
