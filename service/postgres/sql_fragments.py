"""SQL expressions that several queries share."""

from native import FEE, INTEREST, INTEREST_CREDIT, PAYMENT, REVERSAL

EPOCH = "DATE '1970-01-01'"  # day 0
# minor units per unit of the currency of a loan `l`, by its number of decimals
MINOR_UNITS = "(ARRAY[1, 10, 100, 1000, 10000])[l.exponent + 1]"
# the change that an event makes to the balance
SIGNED_AMT = """
    CASE WHEN (event_type IN ('payment', 'interest_credit')) = (reverses IS NULL) THEN -amt ELSE amt END
"""
# the kind of an event in a timeline
KIND = f"""
    CASE event_type WHEN 'fee' THEN {FEE} WHEN 'interest' THEN {INTEREST} WHEN 'payment' THEN {PAYMENT}
                    WHEN 'interest_credit' THEN {INTEREST_CREDIT} END
    + CASE WHEN reverses IS NULL THEN 0 ELSE {REVERSAL} END
"""


def known_version(moment: str) -> str:
    """Return the version that a loan `l` had at a moment, as SQL.

    It precedes the loan's first record that was recorded later. Recording times increase with versions unless the clock
    is set back: a record that follows a later one then counts as recorded later, too.

    Args:
        moment: The moment, as SQL.
    """
    events, terms, schedules = (
        f"(SELECT min(version) FROM {table} WHERE loan_id = l.loan_id AND recorded_at > {moment})"  # noqa: S608
        for table in ("loan_events", "loan_terms", "loan_schedules")
    )
    return f"""
    coalesce(least({events}, CASE WHEN l.agreements > 0 THEN least({terms}, {schedules}) END) - 1, l.version)
    """
