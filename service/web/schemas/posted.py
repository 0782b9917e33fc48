"""Replies to postings of events."""

from typing import Annotated

from pydantic import BaseModel, Field, WithJsonSchema

from service.domain.parsing import EVENT_TYPES
from service.web.schemas.common import optional_member
from service.web.schemas.headers import LOAN_HEADERS, REPLAYED, with_headers
from service.web.schemas.query_fields import Currency, Day, LoanId, Money, RecordedAt, Version

_SINCE = "Missing only in the reply to a repeated request that an earlier release recorded."


class PostedEvent(BaseModel):
    """A posted event."""

    tx_id: int = Field(description="The transaction id, which a reversal refers to.", json_schema_extra={"example": 71})
    version: Version = Field(description="The loan's version with this event.")
    event_type: Annotated[str, WithJsonSchema({"type": "string", "enum": list(EVENT_TYPES)})] = optional_member(
        f"The type of the event. {_SINCE}"
    )
    post_date: Day = optional_member(f"The date from which it counts. {_SINCE}")
    amt: Money = optional_member(f"The amount, above zero. {_SINCE}")


class PostedReply(BaseModel):
    """The posted events, in the order of their versions, and the loan's balance today."""

    model_config = with_headers({**LOAN_HEADERS, **REPLAYED})

    loan_id: LoanId
    date: Day = Field(description="Today, in the service's time zone.")
    balance: Money
    currency: Currency
    version: Version = Field(description="The loan's version with these events. Use it as `min_version` to read them.")
    recorded_at: RecordedAt
    events: list[PostedEvent]


class NothingChargedReply(BaseModel):
    """Nothing was to be charged, so nothing was posted: the loan's balance today."""

    model_config = with_headers(LOAN_HEADERS)

    loan_id: LoanId
    date: Day = Field(description="Today, in the service's time zone.")
    balance: Money
    currency: Currency
    version: Version
    events: list[PostedEvent] = Field(max_length=0, description="Empty.")
