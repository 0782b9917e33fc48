"""Types of members of JSON bodies. Each accepts one JSON type only."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from service.domain.parsing import MAX_LOAN_ID, parse_date

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
