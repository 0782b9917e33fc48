"""A cached loan does not go on answering with old terms."""

from service.cache import TimelineLru
from service.ledger.repository import PostgresLedger
from service.ledger.timeline_lookup import TimelineLookup
from service.postgres.pool import ConnectionPool
from tests.conftest import sql
from tests.integration.service.ledger.test_change_listener import listening, wait_until
from tests.support.agreements import post_schedules, post_terms


def test_new_terms_and_schedules_replace_the_cached_ones(settings, posting):
    sql(posting, "SELECT create_loans('{1,2}', '{2020-01-01,2020-01-01}', '{100,100}', '{USD,USD}')")
    post_terms(posting, (1, "2020-01-01", "0.1"))
    database = ConnectionPool(settings)
    with listening(settings) as freshness:
        lookup = TimelineLookup(PostgresLedger(database), freshness, (TimelineLru(1_000_000),))
        for loan_id in (1, 2):
            lookup.get(loan_id)
        cached = lookup.get_cached(1)
        assert cached is not None
        assert [terms[1] for terms in cached.timeline.terms] == [10**7]
        post_terms(posting, (1, "2020-01-01", "0.2"))
        wait_until(lambda: lookup.get_cached(1) is None)
        assert [terms[1] for terms in lookup.get(1).timeline.terms] == [2 * 10**7]
        post_schedules(posting, (1, "2020-01-01", [("2020-02-01", "5")]))
        wait_until(lambda: lookup.get_cached(1) is None)
        assert len(lookup.get(1).timeline.schedules) == 1
        post_terms(posting, (1, None, None), day_count=None, grace_days=None, reverses=2)
        wait_until(lambda: lookup.get_cached(1) is None)
        assert [terms[1] for terms in lookup.get(1).timeline.terms] == [10**7]
        assert lookup.get_cached(2) is not None
    database.close()
