"""What an event does to a balance, in SQL."""

SIGNED_AMT = "CASE WHEN (event_type = 'payment') = (reverses IS NULL) THEN -amt ELSE amt END"
EPOCH = "DATE '1970-01-01'"
