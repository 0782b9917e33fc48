"""SQL expressions that several queries share."""

EPOCH = "DATE '1970-01-01'"  # day 0
# the change that an event makes to the balance
SIGNED_AMT = "CASE WHEN (event_type = 'payment') = (reverses IS NULL) THEN -amt ELSE amt END"
