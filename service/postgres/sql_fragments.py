"""What several queries say of the ledger in the same words."""

EPOCH = "DATE '1970-01-01'"  # days count from it
# what an event does to a balance
SIGNED_AMT = "CASE WHEN (event_type = 'payment') = (reverses IS NULL) THEN -amt ELSE amt END"
