"""Events in replies."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from service.web.schemas.common import omit_default
from service.web.schemas.query_fields import Day, Money, RecordedAt

_TX_ID: dict[str, Any] = {"example": 7}


def _with_provenance(description: str, example: str) -> Any:
    def extra(schema: dict[str, Any]) -> None:
        omit_default(schema)
        schema["example"] = example

    return Field(
        default=None, description=f"{description} Only with `provenance=true`; may be null.", json_schema_extra=extra
    )


class EventReply(BaseModel):
    """An event, or the principal, and the balance after it."""

    tx_id: int | None = Field(
        description="The transaction id, which a reversal refers to. Null for `principal`.", json_schema_extra=_TX_ID
    )
    event_type: Literal["principal", "fee", "interest", "payment", "interest_credit"] = Field(
        json_schema_extra={"example": "payment"}
    )
    post_date: Day
    amt: Money = Field(description="The amount as posted, above zero.", json_schema_extra={"example": "110.50"})
    reversal: bool = Field(
        description="Whether it reverses an earlier event. It then counts with the opposite sign.",
        json_schema_extra={"example": False},
    )
    signed_amt: Money = Field(
        description="The amount that it adds to the balance.", json_schema_extra={"example": "-110.50"}
    )
    balance: Money = Field(description="The balance after it.", json_schema_extra={"example": "899.50"})
    version: int | None = Field(
        description="The loan's version with this event. Null for `principal`.", json_schema_extra={"example": 2}
    )
    recorded_at: RecordedAt | None = Field(
        description="When it was recorded, in UTC with microseconds. Null for `principal`.",
        json_schema_extra={"example": "2020-03-02T09:30:00.000000Z"},
    )
    reverses: int | None = Field(
        description="The `tx_id` of the event that it reverses, or null.", json_schema_extra=_TX_ID
    )
    reversed_by: int | None = Field(
        description="The `tx_id` of the event that reverses it, as far as the requested version knows, or null.",
        json_schema_extra=_TX_ID,
    )
    source_id: str | None = _with_provenance("The caller's own id of the event.", "receipt-7")
    posted_by: str | None = _with_provenance("Who posted it.", "ann@example.com")
    memo: str | None = _with_provenance("Why it was posted.", "corrects the receipt of 1 July")


class RecordedEventReply(BaseModel):
    """An event as it was recorded."""

    tx_id: int = Field(description="The transaction id, which a reversal refers to.", json_schema_extra=_TX_ID)
    version: int = Field(description="The loan's version with this event.", json_schema_extra={"example": 2})
    event_type: Literal["fee", "interest", "payment", "interest_credit"] = Field(
        json_schema_extra={"example": "payment"}
    )
    post_date: Day
    amt: Money = Field(description="The amount as posted, above zero.", json_schema_extra={"example": "110.50"})
    recorded_at: RecordedAt
    source_id: str | None = Field(
        description="The caller's own id of the event, or null.", json_schema_extra={"example": "receipt-7"}
    )
    reverses: int | None = Field(
        description="The `tx_id` of the event that it reverses, or null.", json_schema_extra=_TX_ID
    )
    reversed_by: int | None = Field(
        description="The `tx_id` of the event that reverses it, as far as the requested version knows, or null.",
        json_schema_extra=_TX_ID,
    )
    posted_by: str | None = Field(
        description="Who posted it: the identity in the token, or the name given to `load`; null if it was not noted.",
        json_schema_extra={"example": "ann@example.com"},
    )
    memo: str | None = Field(
        description="Why it was posted, or null.", json_schema_extra={"example": "corrects the receipt of 1 July"}
    )
