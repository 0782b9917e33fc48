"""SQL expressions that several queries share."""

EPOCH = "DATE '1970-01-01'"  # day 0
# minor units per unit of the currency of a loan `l`, by its number of decimals
MINOR_UNITS = "(ARRAY[1, 10, 100, 1000, 10000])[l.exponent + 1]"
# the change that an event makes to the balance
SIGNED_AMT = "CASE WHEN (event_type = 'payment') = (reverses IS NULL) THEN -amt ELSE amt END"
