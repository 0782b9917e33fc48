"""Types of members of JSON bodies. Each accepts one JSON type only."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from service.domain.money import parse_positive_amount
from service.domain.parsing import (
    MAX_LOAN_ID,
    MAX_MEMO_CHARS,
    MAX_SOURCE_ID_CHARS,
    parse_date,
    parse_memo,
    parse_source_id,
)

AMOUNT_PATTERN = r"[0-9]{1,18}(\.[0-9]{1,4})?$"
_LARGEST_JSON_INTEGER = 2**63  # exclusive
ID_SCHEMA = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_LOAN_ID}


def parsed_string(parse: Callable[[str], Any]) -> BeforeValidator:
    """Return a validator that parses a JSON string and rejects other types.

    Numbers are rejected because a client or a proxy may have handled them as floats.
    """

    def validate(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError("expected a string")
        return parse(value)

    return BeforeValidator(validate)


BodyId = Annotated[int, Field(strict=True, ge=1, le=MAX_LOAN_ID)]
BodyDay = Annotated[
    date, parsed_string(parse_date), WithJsonSchema({"type": "string", "format": "date", "example": "2020-07-01"})
]
BodySourceId = Annotated[
    str,
    parsed_string(parse_source_id),
    WithJsonSchema({"type": "string", "maxLength": MAX_SOURCE_ID_CHARS, "pattern": r"\S"}),
]
BodyMemo = Annotated[
    str,
    parsed_string(parse_memo),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": MAX_MEMO_CHARS,
            "pattern": r"^[^\x00-\x20\x7F-\xA0=+\-@][^\x00-\x1F\x7F-\x9F]*$",
            "example": "corrects the receipt of 1 July",
        }
    ),
]


def _to_digest_form(amount: Decimal) -> int | str:
    """Return an amount as it enters the digest of a request.

    Equal amounts have one form. For two decimals it is the form of release 1.0.0, whose keys are still valid.
    """
    cents = amount.scaleb(2)
    is_integer = cents == cents.to_integral_value() and cents < _LARGEST_JSON_INTEGER
    return int(cents) if is_integer else format(amount.normalize(), "f")


DigestForm = PlainSerializer(_to_digest_form, when_used="json")
BodyPositiveAmount = Annotated[
    Decimal,
    parsed_string(parse_positive_amount),
    DigestForm,
    WithJsonSchema(
        {"type": "string", "pattern": rf"^(?!0+(\.0+)?$){AMOUNT_PATTERN}", "example": "110.50"}, mode="validation"
    ),
]
