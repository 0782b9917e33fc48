"""The view of the whole book: totals, months and the largest loans, and what it does with a large ledger."""

import re

import pytest

from tests.integration.service.web.page.test_loan import amounts_in, get, section

pytestmark = pytest.mark.shared_ledger


def test_the_totals_are_those_of_the_portfolio(signed_in, bearer):
    [total] = signed_in.get("/api/v1/portfolio/2020-03-01?parts=true", headers=bearer).get_json()["totals"]
    found = amounts_in(section(get(signed_in, "/app/book?date=2020-03-01"), "totals"))
    parts = total["parts"]
    assert found == [total["balance"], parts["principal"], parts["interest"], parts["fees"]]


def test_each_month_is_that_of_the_portfolio(signed_in, bearer):
    months = section(get(signed_in, "/app/book?date=2020-07-15"), "months")
    values = months.partition("<tbody>")[2]
    days = re.findall(r'datetime="([^"]*)"', values)
    assert days == ["2019-12-31", "2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30", "2020-05-31", "2020-06-30",
                    "2020-07-15"]  # fmt: skip
    expected = [signed_in.get(f"/api/v1/portfolio/{day}", headers=bearer).get_json()["totals"][0] for day in days]
    assert amounts_in(values) == [total["balance"] for total in expected]


def test_the_largest_loans_lead_to_their_balance_on_the_day(signed_in):
    largest = section(get(signed_in, "/app/book?date=2020-03-01"), "largest")
    assert re.findall(r'href="([^"]*)"', largest) == ["/app/loan/1?date=2020-03-01", "/app/loan/2?date=2020-03-01"]
    assert amounts_in(largest) == ["899.55", "-500.00"]


def test_before_the_first_loan_the_page_says_so(signed_in):
    assert "No loan had started by 2000-01-01." in get(signed_in, "/app/book?date=2000-01-01")


def test_a_currency_without_loans_is_named(signed_in):
    assert "No loan in EUR had started by 2020-03-01." in get(signed_in, "/app/book?date=2020-03-01&currency=EUR")


def test_a_large_ledger_is_computed_only_on_request(signed_in, monkeypatch):
    monkeypatch.setattr("service.web.page.book.MAX_EVENTS_UNPROMPTED", 3)
    monkeypatch.setattr("service.web.page.book.MAX_EVENTS_WITH_DETAILS", 3)
    text = get(signed_in, "/app/book?date=2020-03-01")
    assert "The ledger has" in text
    assert amounts_in(text) == ["4", "3"]  # events and loans
    [link] = re.findall(r'class="button" href="([^"]*)"', text)
    assert link == "/app/book?date=2020-03-01&amp;compute=true"
    computed = get(signed_in, link.replace("&amp;", "&"))
    assert amounts_in(section(computed, "totals")) == ["399.55"]  # without the parts, which would take longer
    assert '<input type="hidden" name="compute" value="true">' in computed


def test_a_book_without_terms_and_schedules_has_no_buckets(signed_in):
    text = get(signed_in, "/app/book?date=2020-03-01")
    assert 'id="buckets"' not in text
    assert "arrears=true" not in text
