"""Events in replies."""

from typing import Literal

from pydantic import BaseModel, Field

from service.web.schemas.query_fields import Day, Money


class EventReply(BaseModel):
    """An event, or the principal, and the balance after it."""

    tx_id: int | None = Field(
        description="The transaction id, which a reversal refers to. Null for `principal`.",
        json_schema_extra={"example": 7},
    )
    event_type: Literal["principal", "fee", "interest", "payment"] = Field(json_schema_extra={"example": "payment"})
    post_date: Day
    amt: Money = Field(description="The amount as posted, never negative.", json_schema_extra={"example": "110.50"})
    reversal: bool = Field(
        description="Whether it reverses an earlier event. It then counts with the opposite sign.",
        json_schema_extra={"example": False},
    )
    signed_amt: Money = Field(
        description="The amount that it adds to the balance.", json_schema_extra={"example": "-110.50"}
    )
    balance: Money = Field(description="The balance after it.", json_schema_extra={"example": "899.50"})
