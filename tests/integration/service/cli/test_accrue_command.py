"""The command `accrue`: it charges every loan once, names those that it skips, and can be repeated at any time."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

from service.cli.main import main
from service.ledger import accrual_run
from service.ledger.accrual_run import AccrualRun
from service.ledger.repository import PostgresLedger
from service.postgres.pool import ConnectionPool
from tests.conftest import sql
from tests.support.accruing import TODAY
from tests.support.agreements import post_terms
from tests.support.processes import reach

DAY = "2020-03-02"


@pytest.fixture
def ledger(posting):
    """Four loans that accrue 10.00 a day, or as many yen, and one without terms."""
    create(posting, [1, 2, 3, 5], "36500")
    sql(posting, "SELECT create_loans('{4}', '{2020-01-01}', '{36500}', '{JPY}', NULL)")
    post_terms(posting, *((loan_id, "2020-01-01", "0.10") for loan_id in (1, 2, 3, 4)))
    return posting


def create(posting, loan_ids, amount):
    columns = [loan_ids, ["2020-01-01"] * len(loan_ids), [amount] * len(loan_ids), ["USD"] * len(loan_ids)]
    sql(posting, "SELECT create_loans(%s, %s::date[], %s::numeric[], %s, NULL)", *columns)


@pytest.fixture
def accrue(settings, monkeypatch):
    """Runs the command, and returns its result."""
    for name, value in reach(settings).items():
        monkeypatch.setenv(name, value)

    def accrue(*arguments, day=DAY, status=0):
        done = CliRunner().invoke(main, ["accrue", "--date", str(day), *arguments])
        assert done.exit_code == status, done.output
        return done

    return accrue


def charged(posting):
    """Return the events that charge interest."""
    query = "SELECT loan_id, event_type, post_date::text, amt::text FROM loan_events WHERE memo LIKE 'accrued %%'"
    return sql(posting, f"{query} ORDER BY loan_id, tx_id", None)


def test_every_loan_with_terms_is_charged_once(ledger, accrue):
    done = accrue("--as", "Ann")
    expected = [(loan_id, "interest", DAY, "610.00") for loan_id in (1, 2, 3)] + [(4, "interest", DAY, "610")]
    assert charged(ledger) == expected
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["currency", "event_type", "loans", "amount"], ["JPY", "interest", "1", "610"],
        ["USD", "interest", "3", "1830.00"],
        ["charged", "4", "loans;", "0", "loans", "needed", "nothing;", "skipped", "0", "loans"],
    ]  # fmt: skip
    assert "accruing: 4 rows, 100 %" in done.stderr
    assert sql(ledger, "SELECT DISTINCT posted_by FROM loan_events") == [("loaner_posting (Ann)",)]
    assert accrue().stdout == "charged 0 loans; 4 loans needed nothing; skipped 0 loans\n"
    assert charged(ledger) == expected


def test_a_dry_run_posts_nothing(ledger, accrue):
    done = accrue("--dry-run")
    assert "1830.00" in done.stdout
    assert done.stdout.splitlines()[-1] == "would charge 4 loans; 0 loans needed nothing; skipped 0 loans"
    assert charged(ledger) == []


def test_one_loan_can_be_charged(ledger, accrue):
    accrue("--loan", "2")
    assert charged(ledger) == [(2, "interest", DAY, "610.00")]
    assert accrue("--loan", "5").stdout == "charged 0 loans; 1 loan needed nothing; skipped 0 loans\n"
    assert accrue("--loan", "99", status=1).stderr == "Error: no such loan: 99\n"


def test_a_correction_that_is_dated_back_charges_the_difference(ledger, accrue):
    accrue()
    sql(ledger, "SELECT post_events('{2}', '{payment}', '{2020-02-01}', '{3650}')")
    post_terms(ledger, (3, "2020-02-01", "0.20"))
    done = accrue()
    assert charged(ledger)[1:5] == [
        (2, "interest", DAY, "610.00"), (2, "interest_credit", DAY, "30.00"),
        (3, "interest", DAY, "610.00"), (3, "interest", DAY, "300.00"),
    ]  # fmt: skip
    assert [line.split() for line in done.stdout.splitlines()[1:3]] == [
        ["USD", "interest", "1", "300.00"], ["USD", "interest_credit", "1", "30.00"]
    ]  # fmt: skip


def test_a_loan_with_later_interest_is_skipped_and_named(ledger, accrue):
    sql(ledger, "SELECT post_events('{3}', '{interest}', '{2020-03-03}', '{1}')")
    done = accrue()
    assert "loan 3 skipped: the loan has interest dated 2020-03-03, which is later\n" in done.stderr
    assert done.stdout.splitlines()[-1] == "charged 3 loans; 0 loans needed nothing; skipped 1 loan"
    assert [loan_id for loan_id, *_ in charged(ledger)] == [1, 2, 4]


def test_a_loan_whose_interest_cannot_be_stored_is_skipped_and_the_others_are_charged(ledger, accrue):
    create(ledger, [6, 7], "9000000000000000")
    post_terms(ledger, (6, "2020-01-01", "10"), (7, "2020-01-01", "10"))
    accrue(day="2020-06-30")  # more than what an amount may be
    done = accrue(day=TODAY)
    assert done.stderr.count("the interest that has accrued exceeds what the ledger can store") == 2
    assert [loan_id for loan_id, *_ in charged(ledger)] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_dates_that_are_not_open_are_refused(ledger, admin, accrue):
    tomorrow = TODAY.fromordinal(TODAY.toordinal() + 1)
    assert f"expected a date up to today, which is {TODAY}" in accrue(day=tomorrow, status=2).stderr
    sql(admin, "SELECT close_period('2020-03-31', 'test')")
    refused = accrue(status=1).stderr
    assert refused == "Error: date: expected a date after 2020-03-31, until which the ledger is closed\n"
    assert charged(ledger) == []


def test_simultaneous_runs_charge_once(ledger, settings, monkeypatch):
    monkeypatch.setattr(accrual_run, "BATCH_LOANS", 3)
    create(ledger, list(range(10, 70)), "36500")
    post_terms(ledger, *((loan_id, "2020-01-01", "0.10") for loan_id in range(10, 70)))

    def run(_):
        return [accrued for batch in runs(settings).all_loans() for accrued in batch]

    with ThreadPoolExecutor(3) as pool:
        done = [accrued for each in pool.map(run, range(3)) for accrued in each]
    posted = charged(ledger)
    assert len(posted) == len({loan_id for loan_id, *_ in posted}) == 64
    assert sorted(accrued.loan_id for accrued in done if accrued.charge) == [loan_id for loan_id, *_ in posted]
    assert not any(accrued.skipped for accrued in done)


def runs(settings, **options):
    database = ConnectionPool(settings, role="posting")
    return AccrualRun(database, PostgresLedger(database), TODAY.fromisoformat(DAY), **options)


@pytest.fixture
def pay_in_between(ledger, monkeypatch):
    """Posts payments to loan 2 while its interest is computed, as often as requested."""
    charge, raced = accrual_run.charge_on, []

    def start(times):
        def race(timeline, day):
            if timeline.loan_id == 2 and len(raced) < times:
                raced.append(sql(ledger, "SELECT post_events('{2}', '{payment}', '{2020-02-01}', '{3650}')"))
            return charge(timeline, day)

        monkeypatch.setattr(accrual_run, "charge_on", race)

    return start


def test_a_payment_that_is_posted_while_a_batch_is_computed_counts(ledger, settings, pay_in_between):
    pay_in_between(1)
    [batch] = runs(settings).all_loans()
    assert [accrued.charge.amount for accrued in batch] == [61000, 58000, 61000, 610]
    assert len(charged(ledger)) == 4


def test_a_loan_that_changes_all_the_time_is_skipped_and_named(ledger, settings, pay_in_between):
    pay_in_between(100)
    [batch] = runs(settings).all_loans()
    assert [accrued.skipped for accrued in batch] == [None, "it changed again and again", None, None]
    assert [loan_id for loan_id, *_ in charged(ledger)] == [1, 3, 4]


def test_ctrl_c_ends_after_the_batch_and_the_next_run_charges_the_rest(ledger, accrue, monkeypatch):
    monkeypatch.setattr(accrual_run, "BATCH_LOANS", 2)
    loans = AccrualRun.loans

    def interrupted(self, loan_ids):
        done = loans(self, loan_ids)
        os.kill(os.getpid(), signal.SIGINT)
        return done

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(AccrualRun, "loans", interrupted)
        done = accrue(status=130)
    assert signal.getsignal(signal.SIGINT) is handler
    assert done.stdout.splitlines()[-1] == "charged 2 loans; 0 loans needed nothing; skipped 0 loans"
    assert done.stderr.splitlines()[-1] == (
        "Interrupted; what was charged stays charged, and the next run charges the rest"
    )
    assert [loan_id for loan_id, *_ in charged(ledger)] == [1, 2]
    assert accrue().stdout.splitlines()[-1] == "charged 2 loans; 2 loans needed nothing; skipped 0 loans"
