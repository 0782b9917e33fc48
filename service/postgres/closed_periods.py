"""Until when the ledger is closed."""

CLOSED_UNTIL = "SELECT closed_until FROM closed_periods ORDER BY id DESC LIMIT 1"
"""Returns the last day that is closed: null, or no row, if every day is open."""
