"""What is posted: closed objects, each member parsed strictly and documented where it is parsed."""

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from service.errors import InvalidRequest
from service.idempotency import idempotency_key_of
from service.money import to_cents, to_positive_cents
from service.posting import NewEvent, NewLoan
from service.routes.fields import Query
from service.values import EVENT_TYPES, MAX_LOAN_ID, date_of, event_type_of

MOST_EVENTS = 1000
_AMOUNT = {"type": "string", "pattern": r"^[0-9]{1,16}(\.[0-9]{1,2})?$"}
_ID = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_LOAN_ID}


def _text(check: Callable[[str], Any]) -> BeforeValidator:
    """Of JSON's types only a string: a number would have been read as a float by somebody on the way."""

    def checked(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError("expected a string")
        return check(value)

    return BeforeValidator(checked)


def _left_out(schema: dict[str, Any]) -> None:
    del schema["default"]  # which only means that the member was not there, and may not be sent


def _source_id_of(text: str) -> str:
    if not text.strip() or len(text) > 200 or not text.isprintable():
        raise ValueError("expected 1 to 200 printable characters")
    return text


def _currency_of(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise ValueError("expected three capital letters, such as USD")
    return text


_Day = Annotated[date, _text(date_of), WithJsonSchema({"type": "string", "format": "date", "example": "2020-07-01"})]
_Id = Annotated[int, Field(strict=True, ge=1, le=MAX_LOAN_ID)]


class PostingHeaders(Query):
    """How a caller may say that this is the same request as before."""

    idempotency_key: Annotated[
        str,
        _text(idempotency_key_of),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}),
    ] = Field(
        default="",
        alias="Idempotency-Key",
        description="of the caller's choice, kept for a day: the same request with the same key is done once, and gets "
        "the same answer",
        json_schema_extra=_left_out,
    )


class EventBody(BaseModel):
    """An event."""

    model_config = ConfigDict(extra="forbid")

    event_type: Annotated[str, _text(event_type_of), WithJsonSchema({"type": "string", "enum": list(EVENT_TYPES)})]
    post_date: _Day
    amt: Annotated[int, _text(to_positive_cents), WithJsonSchema({**_AMOUNT, "example": "110.50"})] = Field(
        description="above zero, with at most two decimals; a payment lowers the balance"
    )
    source_id: Annotated[
        str, _text(_source_id_of), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 200})
    ] = Field(default="", description="the caller's own id of the event, unique per loan", json_schema_extra=_left_out)
    reverses: Annotated[_Id, WithJsonSchema(_ID)] = Field(
        default=0,
        description="the tx_id of the event that this one takes back: of the same type and amount, once",
        json_schema_extra=_left_out,
    )

    def event(self) -> NewEvent:
        """What is to be posted."""
        return NewEvent(self.event_type, self.post_date, self.amt, self.source_id or None, self.reverses or None)


class EventsBody(BaseModel):
    """Events of one loan: all are posted, or none."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"events": [{"event_type": "payment", "post_date": "2020-07-01", "amt": "110.50"}]}
        },
    )

    events: list[EventBody] = Field(min_length=1, max_length=MOST_EVENTS)

    def new_events(self) -> list[NewEvent]:
        """What is to be posted. Raises: InvalidRequest when two events say that they are the same one."""
        events = [body.event() for body in self.events]
        wrong = []
        for field in ("source_id", "reverses"):
            seen: set[object] = set()
            for number, value in enumerate(getattr(event, field) for event in events):
                if value is not None and value in seen:
                    wrong.append((f"events.{number}.{field}", "is there twice in this request"))
                seen.add(value)
        if wrong:
            raise InvalidRequest(wrong)
        return events


class LoanBody(BaseModel):
    """A loan's terms."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"loan_id": 1001, "start_date": "2020-07-01", "initial_amt": "1000.00", "currency": "USD"}
        },
    )

    loan_id: Annotated[_Id, WithJsonSchema(_ID)]
    start_date: _Day
    initial_amt: Annotated[int, _text(to_cents), WithJsonSchema({**_AMOUNT, "example": "1000.00"})]
    currency: Annotated[str, _text(_currency_of), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"})] = "USD"

    def loan(self) -> NewLoan:
        """What is to be created."""
        return NewLoan(self.loan_id, self.start_date, self.initial_amt, self.currency)
