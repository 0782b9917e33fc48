"""Headers and bodies of posting requests. Unknown members are rejected."""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from service.domain.money import to_cents, to_positive_cents
from service.domain.parsing import EVENT_TYPES, parse_event_type
from service.errors import InvalidRequest
from service.ledger.idempotency import parse_idempotency_key
from service.ledger.posting import NewEvent, NewLoan
from service.web.schemas.body_fields import ID_SCHEMA, BodyDay, BodyId, parsed_string
from service.web.schemas.common import Query, omit_default

MAX_EVENTS_PER_REQUEST = 1000
_AMOUNT = r"[0-9]{1,16}(\.[0-9]{1,2})?$"
_MONEY = {"type": "string", "pattern": f"^{_AMOUNT}", "example": "1000.00"}
_POSITIVE_MONEY = {"type": "string", "pattern": rf"^(?!0+(\.0+)?$){_AMOUNT}", "example": "110.50"}


def _parse_source_id(text: str) -> str:
    if not text.strip() or len(text) > 200 or not text.isprintable():
        raise ValueError("expected 1 to 200 printable characters")
    return text


def _parse_currency(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise ValueError("expected three capital letters, such as USD")
    return text


class PostingHeaders(Query):
    """Headers: the key that makes a posting safe to retry."""

    model_config = ConfigDict(extra="ignore")  # requests have other headers, too

    idempotency_key: Annotated[
        str,
        parsed_string(parse_idempotency_key),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}),
    ] = Field(
        default="",
        alias="Idempotency-Key",
        description="A key of the caller's choice. Requests with the same key and content are executed once and get "
        "the same reply. The key is kept for at least one day.",
        json_schema_extra=omit_default,
    )


class EventBody(BaseModel):
    """An event to post."""

    model_config = ConfigDict(extra="forbid")

    event_type: Annotated[
        str, parsed_string(parse_event_type), WithJsonSchema({"type": "string", "enum": list(EVENT_TYPES)})
    ]
    post_date: BodyDay = Field(description="The date from which the event counts, YYYY-MM-DD.")
    amt: Annotated[int, parsed_string(to_positive_cents), WithJsonSchema(_POSITIVE_MONEY)] = Field(
        description="The amount: above zero, with at most two decimals. A payment lowers the balance."
    )
    source_id: Annotated[
        str, parsed_string(_parse_source_id), WithJsonSchema({"type": "string", "maxLength": 200, "pattern": r"\S"})
    ] = Field(
        default="",
        description="The caller's own id of the event: printable characters, unique per loan.",
        json_schema_extra=omit_default,
    )
    reverses: Annotated[BodyId, WithJsonSchema(ID_SCHEMA)] = Field(
        default=0,
        description="The `tx_id` of the event that this one reverses. It must have the same type and amount, and can "
        "be reversed once.",
        json_schema_extra=omit_default,
    )

    def to_event(self) -> NewEvent:
        """Convert the body to an event of the ledger."""
        return NewEvent(self.event_type, self.post_date, self.amt, self.source_id or None, self.reverses or None)


class EventsBody(BaseModel):
    """Events of one loan. All of them are posted, or none."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"events": [{"event_type": "payment", "post_date": "2020-07-01", "amt": "110.50"}]}
        },
    )

    events: list[EventBody] = Field(min_length=1, max_length=MAX_EVENTS_PER_REQUEST)

    def to_events(self) -> list[NewEvent]:
        """Convert the body to events of the ledger.

        Raises:
            InvalidRequest: If two events have the same `source_id` or reverse the same event.
        """
        events = [body.to_event() for body in self.events]
        errors = []
        for field in ("source_id", "reverses"):
            seen: set[object] = set()
            for number, value in enumerate(getattr(event, field) for event in events):
                if value is not None and value in seen:
                    errors.append((f"events.{number}.{field}", "duplicate value"))
                seen.add(value)
        if errors:
            raise InvalidRequest(errors)
        return events


class LoanBody(BaseModel):
    """The terms of a loan to create."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"loan_id": 1001, "start_date": "2020-07-01", "initial_amt": "1000.00", "currency": "USD"}
        },
    )

    loan_id: Annotated[BodyId, WithJsonSchema(ID_SCHEMA)]
    start_date: BodyDay
    initial_amt: Annotated[int, parsed_string(to_cents), WithJsonSchema(_MONEY)]
    currency: Annotated[
        str, parsed_string(_parse_currency), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"})
    ] = "USD"

    def to_loan(self) -> NewLoan:
        """Convert the body to a loan of the ledger."""
        return NewLoan(self.loan_id, self.start_date, self.initial_amt, self.currency)
