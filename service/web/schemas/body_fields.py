"""Members of JSON bodies, strict about the type that JSON gives them."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from service.domain.parsing import MAX_LOAN_ID, parse_date

ID_SCHEMA = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_LOAN_ID}


def text(check: Callable[[str], Any]) -> BeforeValidator:
    """Of JSON's types only a string: a number would have been read as a float by somebody on the way."""

    def checked(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError("expected a string")
        return check(value)

    return BeforeValidator(checked)


BodyId = Annotated[int, Field(strict=True, ge=1, le=MAX_LOAN_ID)]
BodyDay = Annotated[
    date, text(parse_date), WithJsonSchema({"type": "string", "format": "date", "example": "2020-07-01"})
]
