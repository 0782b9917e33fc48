"""What the view of a loan shows of its payoff, arrears, terms and schedules is what the API replies."""

import re
from contextlib import closing
from fractions import Fraction
from html import unescape

import pytest

from service.postgres.connect import connect
from tests.conftest import serving, sql
from tests.integration.service.web.page.test_loan import HOSTILE, amounts_in, get, section
from tests.support.agreements import post_events, post_schedules, post_terms
from tests.support.application import build_app

DAYS = ["2019-12-31", "2020-01-01", "2020-02-01", "2020-02-12", "2020-02-14", "2020-02-15", "2020-04-20", "2035-01-01"]
MEMBERS = ["total", "principal", "interest_charged", "interest_uncharged", "fees", "total", "per_diem"]
INSTALLMENTS = [("2020-02-01", "310.00"), ("2020-03-01", "290.00"), ("2020-04-01", "310.00")]
LONG = [(f"{2020 + month // 12}-{month % 12 + 1:02d}-15", "1.00") for month in range(400)]


@pytest.fixture(scope="module")
def ledger(databases):
    """Loan 1 accrues 10.00 a day, 2 has neither terms nor a schedule, 3 has a long schedule, 4 an overflow."""
    with databases.create() as settings:
        with closing(connect(settings, "posting")) as connection:
            sql(
                connection,
                "SELECT create_loans('{1,2,3,4}', '{2020-01-01,2020-01-01,2020-01-01,2020-01-01}',"
                " '{36500.00,100.00,400.00,90000000000000.00}', '{USD,USD,USD,USD}')",
            )
            post_terms(connection, (1, "2020-01-01", "0.10"), grace_days=12, memo=HOSTILE, source_id="<b>7</b>")
            post_schedules(connection, (1, "2020-01-01", INSTALLMENTS), memo=HOSTILE)
            post_events(
                connection, 1, ("interest", "2020-02-10", "400.00"), ("fee", "2020-02-10", "25.00"),
                ("payment", "2020-02-15", "335.00"), ("interest_credit", "2020-02-20", "3.00"),
            )  # fmt: skip
            post_terms(connection, (1, "2020-03-01", "0.07125"), day_count="ACT/360",
                       allocation=("interest", "fees", "principal"), grace_days=12)  # fmt: skip
            post_terms(connection, (1, "2020-03-01", "0.0725"), day_count="ACT/360",
                       allocation=("interest", "fees", "principal"), grace_days=12)  # fmt: skip
            post_terms(connection, (1, "2020-06-01", "0.50"))
            post_terms(connection, (1, None, None), day_count=None, grace_days=None, reverses=9)
            post_schedules(connection, (3, "2020-01-01", LONG))
            post_events(connection, 3, ("payment", "2020-01-02", "100.50"))
            post_terms(connection, (4, "0001-01-01", "10"))
        yield settings


@pytest.fixture(scope="module")
def app(ledger, keys_dir):
    return build_app(serving(ledger, keys_dir))


@pytest.fixture
def client(app):
    return app.test_client()


def pairs(text: str) -> dict[str, str]:
    """Return the terms and the values of a list of pairs, as text."""
    found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text, re.DOTALL)
    return {name: unescape(re.sub(r"<[^>]*>", "", value)) for name, value in found}


@pytest.mark.parametrize("day", DAYS)
def test_the_payoff_and_its_parts_are_those_of_the_api(signed_in, bearer, day):
    reply = signed_in.get(f"/api/v1/loan/1/payoff/{day}", headers=bearer).get_json()
    text = section(get(signed_in, f"/app/loan/1?date={day}"), "payoff")
    assert amounts_in(text) == [reply[name] for name in MEMBERS]


@pytest.mark.parametrize("day", DAYS)
def test_the_arrears_are_those_of_the_api(signed_in, bearer, day):
    reply = signed_in.get(f"/api/v1/loan/1/arrears/{day}", headers=bearer).get_json()
    text = section(get(signed_in, f"/app/loan/1?date={day}"), "arrears")
    assert amounts_in(text) == [reply["past_due"], reply["due"]]
    shown = pairs(text)
    assert shown["Days past due"] == str(reply["days"])
    assert shown["Oldest unsatisfied due date"] == (reply["oldest_due_date"] or "none")
    assert shown["Bucket"].replace(" to ", "-").removesuffix(" days past due").lower() == reply["bucket"]


def test_the_days_of_the_arrears_differ(signed_in):
    names = {pairs(section(get(signed_in, f"/app/loan/1?date={day}"), "arrears"))["Bucket"] for day in DAYS}
    assert names == {"Current", "1 to 30 days past due", "31 to 60 days past due", "Over 120 days past due"}


def test_totals_through_a_day_are_those_of_the_api(signed_in, bearer):
    path = "/api/v1/loan/1/payoff/2020-02-12?good_through=2020-03-20"
    totals = signed_in.get(path, headers=bearer).get_json()["totals"]
    text = section(get(signed_in, "/app/loan/1?date=2020-02-12&good_through=2020-03-20"), "payoff")
    table = text.partition("<table")[2]
    assert amounts_in(table) == [each["total"] for each in totals]
    assert re.findall(r'datetime="([^"]*)"', table) == [each["date"] for each in totals]
    assert 'name="good_through" type="text" value="2020-03-20"' in text
    assert 'min="2020-02-12" max="2021-02-12"' in text
    assert len(totals) == 37


@pytest.mark.parametrize("good_through", ["2020-02-11", "2021-02-13"])
def test_a_day_without_total_is_a_mistake_of_the_address(signed_in, good_through):
    text = get(signed_in, f"/app/loan/1?date=2020-02-12&good_through={good_through}", 400)
    assert "expected a date from 2020-02-12 to 2021-02-12, 366 days later" in text


def test_the_last_date_that_can_be_written_has_a_payoff(signed_in):
    assert 'max="9999-12-31"' in section(get(signed_in, "/app/loan/1?date=9999-12-31"), "payoff")


@pytest.mark.parametrize("day", DAYS)
def test_the_accrual_is_that_of_the_api(signed_in, bearer, day):
    reply = signed_in.get(f"/api/v1/loan/1/payoff/{day}?explain=true", headers=bearer).get_json()
    text = get(signed_in, f"/app/loan/1?date={day}").partition('class="accrual"')[2].partition("</details>")[0]
    if not reply["segments"]:
        assert text == ""
        return
    assert reply["digest"] in text
    assert f"{reply['accrued']}</span> minor units" in text
    exact = Fraction(reply["accrued"])
    assert amounts_in(text)[:2] == [f"{round(exact) // 100}.{round(exact) % 100:02d}", reply["charged"]]
    cells = [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", text)]
    assert cells[::8] == [each["from"] for each in reply["segments"]]
    assert cells[1::8] == [each["to"] for each in reply["segments"]]
    assert cells[2::8] == [str(each["days"]) for each in reply["segments"]]
    assert cells[5::8] == [each["day_count"] for each in reply["segments"]]
    assert cells[7::8] == [each["interest"] for each in reply["segments"]]
    assert amounts_in(text)[2::2] == [each["principal"] for each in reply["segments"]]


def test_many_segments_are_shown_in_part(signed_in, bearer, monkeypatch):
    monkeypatch.setattr("service.web.page.settlement.MAX_ROWS", 1)
    monkeypatch.setattr("service.web.page.settlement.MAX_DIGESTED", 1)
    segments = signed_in.get("/api/v1/loan/1/payoff/2020-04-20?explain=true", headers=bearer).get_json()["segments"]
    text = get(signed_in, "/app/loan/1?date=2020-04-20").partition('class="accrual"')[2].partition("</details>")[0]
    assert f"The last 1 of {len(segments)} segments are shown" in text
    assert [each["interest"] in text for each in segments] == [False, True]
    assert "A digest is computed for at most" in text


@pytest.mark.parametrize(
    ("day", "states"),
    [
        ("2020-01-31", ["Not due yet"] * 3),
        ("2020-02-01", ["Due", "Not due yet", "Not due yet"]),
        ("2020-02-13", ["Due", "Not due yet", "Not due yet"]),  # within the grace days
        ("2020-02-14", ["Past due", "Not due yet", "Not due yet"]),
        ("2020-02-15", ["Satisfied", "Not due yet", "Not due yet"]),
        ("2020-04-01", ["Satisfied", "Past due", "Due"]),
    ],
)
def test_each_installment_says_what_is_satisfied(signed_in, bearer, day, states):
    text = section(get(signed_in, f"/app/loan/1?date={day}"), "schedule")
    cells = [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", text)]
    assert cells[2::6] == states
    reply = signed_in.get(f"/api/v1/loan/1/arrears/{day}", headers=bearer).get_json()
    shown = [
        {"due_date": due, "amt": amount, "satisfied": satisfied}
        for due, amount, satisfied, left in zip(
            cells[1::6], amounts_in(text)[::3], amounts_in(text)[1::3], amounts_in(text)[2::3], strict=True
        )
        if left != "0.00"
    ]
    assert shown == reply["installments"]


def test_nothing_is_owed_after_an_overpayment(ledger, signed_in):
    with closing(connect(ledger, "posting")) as connection:
        sql(connection, "SELECT create_loans('{5}', '{2020-01-01}', '{100.00}', '{USD}')")
        post_schedules(connection, (5, "2020-01-01", [("2020-02-01", "100.00")]))
        post_events(connection, 5, ("fee", "2020-01-02", "50.00"), ("interest_credit", "2020-01-03", "150.00"))
    text = section(get(signed_in, "/app/loan/5?date=2020-03-01"), "schedule")
    assert "Nothing owed" in text
    assert "Interest credits" in section(get(signed_in, "/app/loan/5?date=2020-03-01"), "why")


def test_a_long_schedule_begins_with_the_last_satisfied_installments(signed_in, monkeypatch):
    text = section(get(signed_in, "/app/loan/3?date=2020-03-01"), "schedule")
    assert "100 of 400 installments satisfied" in text
    assert "Not all of them" not in text
    assert "Installments 1 to 97, all satisfied" in text
    rows = re.findall(r'<tr><td class="figure">([0-9]+)<', text)
    assert rows == [*map(str, range(98, 401)), *map(str, range(1, 98))]
    monkeypatch.setattr("service.web.page.settlement.MAX_ROWS", 10)
    text = section(get(signed_in, "/app/loan/3?date=2020-03-01"), "schedule")
    assert "Not all of them are shown; the data below has all." in text
    rows = re.findall(r'<tr><td class="figure">([0-9]+)<', text)
    assert rows == [*map(str, range(98, 108)), *map(str, range(88, 98))]


def test_the_terms_in_effect_are_shown(signed_in):
    march = pairs(section(get(signed_in, "/app/loan/1?date=2020-03-01"), "terms"))
    assert march["Rate"] == "7.25% a year (0.0725)"
    assert (march["Day count"], march["Grace days"]) == ("ACT/360", "12")
    assert march["Payments pay"] == "interest, fees, principal"
    assert march["In effect since"] == "2020-03-01"
    february = pairs(section(get(signed_in, "/app/loan/1?date=2020-02-29"), "terms"))
    assert (february["Rate"], february["Payments pay"]) == ("10% a year (0.1)", "fees, interest, principal")
    assert "No rate is in effect on 2019-12-31 yet." in get(signed_in, "/app/loan/1?date=2019-12-31")


def test_a_loan_without_terms_and_schedule_has_a_hint_instead(signed_in):
    text = get(signed_in, "/app/loan/2?date=2020-03-01")
    assert "No rate and no schedule apply" in text
    for heading in ("payoff", "arrears", "schedule"):
        assert f'id="{heading}"' not in text
    assert "payoff/2020-03-01" not in text


def test_the_view_of_the_past_has_the_terms_of_then(signed_in, bearer):
    text = get(signed_in, "/app/loan/1?date=2020-04-20&as_of_version=1")
    reply = signed_in.get("/api/v1/loan/1/payoff/2020-04-20?as_of_version=1", headers=bearer).get_json()
    assert amounts_in(section(text, "payoff")) == [reply[name] for name in MEMBERS]
    assert "No schedule is in effect on 2020-04-20" in section(text, "arrears")
    assert "its first 1 record," in text
    assert '<input type="hidden" name="as_of_version" value="1">' in section(text, "payoff")
    assert "payoff/2020-04-20?as_of_version=1" in text


def test_records_say_whether_they_apply(signed_in):
    text = get(signed_in, "/app/loan/1?date=2020-03-01").partition('class="agreements"')[2].partition("</table>")[0]
    cells = [" ".join(re.sub(r"<[^>]*>", "", cell).split()) for cell in re.findall(r"<td.*?</td>", text, re.DOTALL)]
    found = [(int(version), state) for version, state in zip(cells[::6], cells[3::6], strict=True)]
    assert found == [
        (10, "Reverses version 9"), (9, "Reversed by version 10"), (8, "Applies"), (7, "Replaced"), (2, "Applies"),
        (1, "Applies"),
    ]  # fmt: skip
    assert cells[2::6][-1] == "Terms: 10% a year, ACT/365F; fees, interest, principal; 12 grace days"
    assert cells[2::6][-2] == "Schedule: 3 installments; 2020-02-01 to 2020-04-01; 910.00 in total"
    assert cells[4::6][0].endswith("by ann")
    assert amounts_in(text) == ["910.00"]  # in the chosen format


def test_words_of_others_are_escaped(signed_in):
    text = get(signed_in, "/app/loan/1?date=2020-03-01")
    for fragment in ("<script>alert", "<img src=x", 'onmouseover="', "<b>7"):
        assert fragment not in text
    assert unescape(text).count("onerror=alert(1)") == 2


def test_an_amount_that_does_not_fit_leaves_the_rest_of_the_view(signed_in):
    text = get(signed_in, "/app/loan/4?date=9999-01-01")
    assert "The payoff and the arrears on 9999-01-01 cannot be shown" in text
    assert amounts_in(section(text, "balance"))[0] == "90000000000000.00"
    assert 'id="schedule"' not in text


def test_the_data_of_the_payoff_can_be_fetched(signed_in):
    text = get(signed_in, "/app/loan/1?date=2020-02-12&good_through=2020-02-14")
    links = [unescape(link) for link in re.findall(r'href="(/app/api/[^"]*)"', text)]
    explanation = "/app/api/v1/loan/1/payoff/2020-02-12?explain=true"
    assert "digest" in signed_in.get(explanation).json
    links.remove(explanation)  # it has no CSV
    for name in ("payoff", "arrears", "terms", "schedule"):
        found = [link for link in links if re.search(rf"/{name}(/|$|\?)", link)]
        assert [signed_in.get(link).mimetype for link in found] == ["application/json", "text/csv"], name
    days = [row.split(",")[1] for link in links if "good_through=2020-02-14" in link and "csv" in link
            for row in signed_in.get(link).text.splitlines()]  # fmt: skip
    assert days == ["date", "2020-02-12", "2020-02-13", "2020-02-14"]


@pytest.mark.parametrize("day", ["2020-02-14", "2020-04-20", "9999-01-01"])
def test_the_book_has_the_buckets_of_the_portfolio(signed_in, bearer, day):
    path = f"/api/v1/portfolio/{day}?payoff=true&arrears=true"
    totals = signed_in.get(path, headers=bearer).get_json()["totals"]
    text = section(get(signed_in, f"/app/book?date={day}"), "buckets")
    expected = [row for total in totals for row in (*total["buckets"], total) if row["loans"]]
    assert amounts_in(text) == [row[name] for row in expected for name in ("past_due", "payoff", "balance")]
    assert re.findall(r'<td class="figure">([0-9]+)</td>', text) == [str(row["loans"]) for row in expected]
    assert len(expected) > len(totals)
    assert ("with 1 loan whose amounts have too many digits" in text) == (totals[0]["errors"] == 1) == (day > "9")
    [link] = [unescape(link) for link in re.findall(r'href="([^"]*)"', text)]
    csv = signed_in.get(link)
    assert csv.status_code == 200
    assert csv.text.startswith("date,loan_id,balance,currency,version,interest_uncharged,payoff,past_due")
