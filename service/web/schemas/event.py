"""An event in a reply, with what it did to the balance."""

from typing import Literal

from pydantic import BaseModel, Field

from service.web.schemas.query_fields import Day, Money


class EventReply(BaseModel):
    """Something that changed the balance, and the balance after it."""

    tx_id: int | None = Field(description="null for `principal`", json_schema_extra={"example": 7})
    event_type: Literal["principal", "fee", "interest", "payment"] = Field(json_schema_extra={"example": "payment"})
    post_date: Day
    amt: Money = Field(description="the amount as posted, never negative", json_schema_extra={"example": "110.50"})
    reversal: bool = Field(
        description="whether it takes an earlier event back; it then counts with the opposite sign",
        json_schema_extra={"example": False},
    )
    signed_amt: Money = Field(description="what it added to the balance", json_schema_extra={"example": "-110.50"})
    balance: Money = Field(description="what was owed after it", json_schema_extra={"example": "899.50"})
