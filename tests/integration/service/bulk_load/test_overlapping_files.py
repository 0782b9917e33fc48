"""Monthly loading: exports that overlap are loaded once, and a reversal names the event that it reverses."""

import hashlib
from contextlib import closing
from decimal import Decimal

import pytest

from service.bulk_load import loader
from service.bulk_load.loader import load
from service.bulk_load.rejection import LoadRejected
from service.postgres.connect import connect
from tests.conftest import sql
from tests.integration.service.bulk_load.conftest import GOOD_EVENTS, bad_rows, counts

WITH_IDS = "loan_id,event_type,post_date,amt,source_id\n"
WITH_REVERSALS = "loan_id,event_type,post_date,amt,source_id,reverses_source_id\n"
FIRST = WITH_IDS + "1,payment,2020-02-01,10.00,A1\n1,payment,2020-02-09,10.00,A2\n2,fee,2020-02-09,5.00,A1\n"


def numbers(loaded) -> tuple[int, int, int, int]:
    return loaded.loans, loaded.existing_loans, loaded.events, loaded.skipped_events


def ledger(connection) -> list[tuple]:
    """Return each event with the source id of the event that it reverses."""
    return sql(
        connection,
        "SELECT e.loan_id, e.version, e.event_type, e.post_date::text, e.amt, e.source_id, r.source_id"
        " FROM loan_events AS e LEFT JOIN loan_events AS r ON r.loan_id = e.loan_id AND r.tx_id = e.reverses"
        " ORDER BY e.loan_id, e.version",
    )


def test_an_event_that_was_exported_twice_is_counted_once(posting, files):
    assert numbers(load(posting, *files(events=FIRST))) == (2, 0, 3, 0)
    second = WITH_IDS + "1,payment,2020-02-09,10,A2\n2,fee,2020-02-09,5.0,A1\n1,payment,2020-02-15,10.00,A3\n"
    assert numbers(load(posting, *files(events=second))) == (0, 2, 1, 2)
    assert numbers(load(posting, *files(events=second))) == (0, 2, 0, 3)
    assert numbers(load(posting, *files(events=second), again=True)) == (0, 2, 0, 3)
    assert counts(posting) == (2, 4)
    assert sql(posting, "SELECT version FROM loans ORDER BY loan_id") == [(3,), (1,)]


def test_an_event_that_a_file_has_twice_is_counted_once(posting, files):
    twice = FIRST + "1,payment,2020-02-01,10.0,A1\n"
    assert numbers(load(posting, *files(events=twice))) == (2, 0, 3, 1)


def test_events_that_differ_from_the_event_of_their_source_id_are_errors(posting, files):
    load(posting, *files(events=FIRST + "1,payment,2020-02-10,10.00,R1\n"))
    tx_id = sql(posting, "SELECT tx_id FROM loan_events WHERE source_id = 'R1'")[0][0]
    sql(
        posting,
        "SELECT append_events('{1}', '{payment}', '{2020-02-11}', '{10}', '{R2}', %s, NULL, NULL, NULL)",
        [tx_id],
    )
    sql(posting, "SELECT append_events('{1}', '{fee}', '{2020-02-11}', '{7}', NULL, NULL, NULL, NULL, NULL)")
    unnamed = sql(posting, "SELECT max(tx_id) FROM loan_events")[0][0]
    sql(posting, "SELECT append_events('{1}', '{fee}', '{2020-02-11}', '{7}', '{R3}', %s, NULL, NULL, NULL)", [unnamed])
    rows = (
        "1,fee,2020-02-01,10.00,A1,\n1,payment,2020-02-02,10.00,A1,\n1,payment,2020-02-01,10.01,A1,\n"
        "1,payment,2020-02-01,10.00,A1,A2\n1,payment,2020-02-11,10.00,R2,\n1,payment,2020-02-11,10.00,R2,A1\n"
        "1,fee,2020-02-11,7.00,R3,\n1,payment,2020-02-11,10.00,R2,R1\n1,fee,2020-03-01,1.00,N1,\n1,fee,2020-03-01,2.00,N1,\n"
        "2,fee,2020-02-09,5.00,A2,\n"
    )
    differs = "source_id: loan 1 already has event"
    assert bad_rows(posting, files(events=WITH_REVERSALS + rows)) == [
        f"events.csv:2: {differs} 'A1' with different terms: event_type payment, not fee",
        f"events.csv:3: {differs} 'A1' with different terms: post_date 2020-02-01, not 2020-02-02",
        f"events.csv:4: {differs} 'A1' with different terms: amt 10.00, not 10.01",
        f"events.csv:5: {differs} 'A1' with different terms: reverses_source_id none, not 'A2'",
        f"events.csv:6: {differs} 'R2' with different terms: reverses_source_id 'R1', not none",
        f"events.csv:7: {differs} 'R2' with different terms: reverses_source_id 'R1', not 'A1'",
        f"events.csv:8: {differs} 'R3' with different terms: reverses_source_id tx_id {unnamed}, not none",
        f"events.csv:11: {differs} 'N1' on line 10 with different terms: amt 1.00, not 2.00",
    ]
    with pytest.raises(LoadRejected, match="refused 8 rows with 8 errors; nothing was loaded"):
        load(posting, *files(events=WITH_REVERSALS + rows))


@pytest.mark.parametrize("batch", [1, 1_000_000])
def test_a_reversal_names_an_event_of_the_ledger_or_of_the_file(posting, files, monkeypatch, batch):
    monkeypatch.setattr("service.bulk_load.event_posting.BATCH_EVENTS", batch)
    load(posting, *files(events=FIRST))
    rows = (
        "1,payment,2020-03-01,10.00,R1,A1\n"  # in the ledger
        "1,fee,2020-03-05,3.00,R3,A3\n"  # on a later line
        "1,fee,2020-03-04,3.00,A3,\n"
        "1,fee,2020-03-06,4.00,,\n"
        "2,fee,2020-03-05,5.00,,A1\n"  # without an id
        "2,fee,2020-03-06,6.00,A2,\n"
        "2,fee,2020-03-06,6.00,R2,A2\n"  # on an earlier line
    )
    assert numbers(load(posting, *files(events=WITH_REVERSALS + rows))) == (0, 2, 7, 0)
    assert ledger(posting)[2:] == [
        (1, 3, "payment", "2020-03-01", Decimal("10.00"), "R1", "A1"),
        (1, 4, "fee", "2020-03-04", Decimal("3.00"), "A3", None),
        (1, 5, "fee", "2020-03-06", Decimal("4.00"), None, None),
        (1, 6, "fee", "2020-03-05", Decimal("3.00"), "R3", "A3"),
        (2, 1, "fee", "2020-02-09", Decimal("5.00"), "A1", None),
        (2, 2, "fee", "2020-03-05", Decimal("5.00"), None, "A1"),
        (2, 3, "fee", "2020-03-06", Decimal("6.00"), "A2", None),
        (2, 4, "fee", "2020-03-06", Decimal("6.00"), "R2", "A2"),
    ]
    unnamed = "1,fee,2020-03-06,4.00,,\n", "2,fee,2020-03-05,5.00,,A1\n"
    named = rows.replace(unnamed[0], "").replace(unnamed[1], "")
    assert numbers(load(posting, *files(events=WITH_REVERSALS + named))) == (0, 2, 0, 5)


def test_invalid_reversals_are_reported(posting, files):
    load(posting, *files(events=WITH_REVERSALS + "1,payment,2020-02-01,10.00,A1,\n1,payment,2020-02-01,10.00,R1,A1\n"))
    rows = (
        "1,payment,2020-02-02,10.00,,A9\n2,payment,2020-02-02,10.00,,A1\n1,payment,2020-02-02,10.00,,R1\n"
        "1,payment,2020-02-02,10.00,,A1\n1,fee,2020-02-02,3.00,A3,\n1,fee,2020-02-02,3.01,,A3\n"
        "1,interest,2020-02-02,3.00,,A3\n1,fee,2020-02-01,3.00,R3,A3\n1,fee,2020-02-02,3.00,R4,A3\n"
        "1,fee,2020-02-02,3.00,R5,R5\n1,fee,2020-02-30,3.00,A6,\n1,fee,2020-02-28,3.00,,A6\n"
    )
    assert bad_rows(posting, files(events=WITH_REVERSALS + rows)) == [
        "events.csv:2: reverses_source_id: loan 1 has no event 'A9' in the ledger or in this file",
        "events.csv:3: reverses_source_id: loan 2 has no event 'A1' in the ledger or in this file",
        "events.csv:4: reverses_source_id: event 'R1' is a reversal itself",
        "events.csv:5: reverses_source_id: event 'A1' is already reversed by tx_id 2",
        "events.csv:7: reverses_source_id: expected the type and amount of event 'A3': fee 3.00",
        "events.csv:8: reverses_source_id: expected the type and amount of event 'A3': fee 3.00",
        "events.csv:9: reverses_source_id: event 'A3' is already reversed on line 7",
        "events.csv:9: post_date: expected the date of the event that it reverses, or a later one: 2020-02-02",
        "events.csv:10: reverses_source_id: event 'A3' is already reversed on line 7",
        "events.csv:11: reverses_source_id: event 'R5' is a reversal itself",
        "events.csv:12: post_date: expected a date that exists, written YYYY-MM-DD (day is out of range for month), "
        "found '2020-02-30'",
    ]
    early = "1,fee,2020-02-02,3.00,A3,\n1,fee,2020-02-01,3.00,R3,A3\n"
    assert bad_rows(posting, files(events=WITH_REVERSALS + early)) == [
        "events.csv:3: post_date: expected the date of the event that it reverses, or a later one: 2020-02-02"
    ]


def test_optional_columns_are_stored(posting, files):
    loans = "currency,loan_id,start_date,initial_amt\nKWD,1,2019-12-05,1.234\nJPY,2,2019-12-05,1000\n"
    events = (
        "memo,amt,post_date,event_type,loan_id,source_id\n"
        '"late, see ""file"" 7",0.001,2020-01-01,fee,1,A1\n'
        ",5,2020-01-01,fee,2,\nété,6,2020-01-01,fee,2,Ä 1\n"
    )
    assert numbers(load(posting, *files(loans, events))) == (2, 0, 3, 0)
    assert sql(posting, "SELECT loan_id, currency, exponent, initial_amt::text FROM loans ORDER BY 1") == [
        (1, "KWD", 3, "1.234"),
        (2, "JPY", 0, "1000"),
    ]
    assert sql(posting, "SELECT loan_id, source_id, memo, amt::text FROM loan_events ORDER BY loan_id, version") == [
        (1, "A1", 'late, see "file" 7', "0.001"),
        (2, None, None, "5"),
        (2, "Ä 1", "été", "6"),
    ]


def test_an_unchanged_file_of_loans_is_loaded_beside_new_events(posting, files):
    load(posting, *files())
    more = "1,fee,2020-03-01,5.00\n"
    assert numbers(load(posting, *files(events=more))) == (0, 2, 1, 0)
    with pytest.raises(LoadRejected, match=r"events\.csv was already loaded"):
        load(posting, *files(events=more))


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
    ],
    ids=["CRLF", "byte order mark", "both", "no last newline"],
)
@pytest.mark.parametrize("release", ["1.0.0", "this"])
def test_events_saved_in_another_form_are_recognized(posting, files, rewrite, release):
    other = GOOD_EVENTS.replace("10.00", "11.00")
    for first, second in ((GOOD_EVENTS, rewrite(GOOD_EVENTS)), (rewrite(other), other)):
        if release == "this":
            load(posting, *files(events=first))
        else:
            digest = hashlib.sha256(first.encode()).digest()
            sql(posting, "INSERT INTO loaded_files (digest, file, rows) VALUES (%s, 'events.csv', 3)", digest)
        with pytest.raises(LoadRejected, match=r"events\.csv was already loaded"):
            load(posting, *files(events=second))


def test_a_file_is_recognized_unless_every_row_has_a_source_id(posting, files):
    load(posting, *files(events=FIRST))
    load(posting, *files(events=FIRST))
    mixed = FIRST + "1,fee,2020-03-01,5.00,\n"
    assert numbers(load(posting, *files(events=mixed))) == (0, 2, 1, 3)
    with pytest.raises(LoadRejected, match="already loaded"):
        load(posting, *files(events=mixed))
    assert numbers(load(posting, *files(events=mixed), again=True)) == (0, 2, 1, 3)


def test_a_loan_of_another_currency_does_not_have_the_same_terms(posting, files):
    jpy = "loan_id,start_date,initial_amt,currency\n1,2019-12-05,1000,JPY\n"
    assert numbers(load(posting, *files(jpy, ""))) == (1, 0, 0, 0)
    assert numbers(load(posting, *files(jpy.replace("1000", "1000.00"), ""))) == (0, 1, 0, 0)
    assert bad_rows(posting, files("1,2019-12-05,1000.00\n", "")) == [
        "loans.csv:1: loan_id: loan 1 already exists with different terms: currency JPY, not USD"
    ]
    assert bad_rows(posting, files("1,2019-12-06,1001\n", "")) == [
        "loans.csv:1: loan_id: loan 1 already exists with different terms: start_date 2019-12-05, not 2019-12-06, "
        "initial_amt 1000, not 1001, currency JPY, not USD"
    ]


def test_an_event_that_is_posted_while_a_file_is_loaded_is_not_posted_twice(settings, posting, files, monkeypatch):
    """The loader has checked the rows when another transaction commits an event with the same source id."""
    load(posting, *files(events=""))
    post = loader.post_events

    def post_late(*arguments):
        with closing(connect(settings, "posting")) as other:
            sql(other, "SELECT append_events('{1}', '{fee}', '{2020-02-01}', '{1}', '{A1}', NULL, NULL, NULL, NULL)")
        return post(*arguments)

    monkeypatch.setattr(loader, "post_events", post_late)
    with pytest.raises(LoadRejected, match=r"the ledger changed while the files were loaded .*load them again"):
        load(posting, *files(events=FIRST))
    monkeypatch.undo()
    loaded = load(posting, *files(events=FIRST.replace("payment,2020-02-01,10.00", "fee,2020-02-01,1.00")))
    assert numbers(loaded) == (0, 2, 2, 1)
