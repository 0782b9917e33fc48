"""What is posted: closed objects, each member parsed strictly and documented where it is parsed."""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from service.domain.money import to_cents, to_positive_cents
from service.domain.parsing import EVENT_TYPES, parse_event_type
from service.errors import InvalidRequest
from service.ledger.idempotency import parse_idempotency_key
from service.ledger.posting import NewEvent, NewLoan
from service.web.schemas.body_fields import ID_SCHEMA, BodyDay, BodyId, text
from service.web.schemas.common import Query, omit_default

MAX_EVENTS_PER_REQUEST = 1000
_AMOUNT = r"[0-9]{1,16}(\.[0-9]{1,2})?$"
_MONEY = {"type": "string", "pattern": f"^{_AMOUNT}", "example": "1000.00"}
_MORE_THAN_NOTHING = {"type": "string", "pattern": rf"^(?!0+(\.0+)?$){_AMOUNT}", "example": "110.50"}


def _source_id_of(text: str) -> str:
    if not text.strip() or len(text) > 200 or not text.isprintable():
        raise ValueError("expected 1 to 200 printable characters")
    return text


def _currency_of(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise ValueError("expected three capital letters, such as USD")
    return text


class PostingHeaders(Query):
    """How a caller may say that this is the same request as before."""

    model_config = ConfigDict(extra="ignore")  # other headers say other things

    idempotency_key: Annotated[
        str,
        text(parse_idempotency_key),
        WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}),
    ] = Field(
        default="",
        alias="Idempotency-Key",
        description="of the caller's choice, kept for a day: the same request with the same key is done once, and gets "
        "the same answer",
        json_schema_extra=omit_default,
    )


class EventBody(BaseModel):
    """An event."""

    model_config = ConfigDict(extra="forbid")

    event_type: Annotated[str, text(parse_event_type), WithJsonSchema({"type": "string", "enum": list(EVENT_TYPES)})]
    post_date: BodyDay
    amt: Annotated[int, text(to_positive_cents), WithJsonSchema(_MORE_THAN_NOTHING)] = Field(
        description="above zero, with at most two decimals; a payment lowers the balance"
    )
    source_id: Annotated[
        str, text(_source_id_of), WithJsonSchema({"type": "string", "maxLength": 200, "pattern": r"\S"})
    ] = Field(
        default="",
        description="the caller's own id of the event, unique per loan; printable",
        json_schema_extra=omit_default,
    )
    reverses: Annotated[BodyId, WithJsonSchema(ID_SCHEMA)] = Field(
        default=0,
        description="the tx_id of the event that this one takes back: of the same type and amount, once",
        json_schema_extra=omit_default,
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

    events: list[EventBody] = Field(min_length=1, max_length=MAX_EVENTS_PER_REQUEST)

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

    loan_id: Annotated[BodyId, WithJsonSchema(ID_SCHEMA)]
    start_date: BodyDay
    initial_amt: Annotated[int, text(to_cents), WithJsonSchema(_MONEY)]
    currency: Annotated[str, text(_currency_of), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"})] = "USD"

    def loan(self) -> NewLoan:
        """What is to be created."""
        return NewLoan(self.loan_id, self.start_date, self.initial_amt, self.currency)
