"""Members of replies, requested by `payoff=true` and `arrears=true`: what settles a loan, and how late it is."""

from pydantic import BaseModel
from pydantic.json_schema import SkipJsonSchema

from service.web.schemas.common import Query, only_if
from service.web.schemas.query_fields import ArrearsFlag, DaysPastDue, Money, PayoffFlag


class SettlementQuery(Query):
    """Query parameters: whether to add the payoff and the arrears."""

    payoff: PayoffFlag = False
    arrears: ArrearsFlag = False


class Settlement(BaseModel):
    """The payoff and the arrears at the end of a day."""

    interest_uncharged: Money | SkipJsonSchema[None] = only_if(
        "payoff", "The interest that has accrued and was not charged yet."
    )
    payoff: Money | SkipJsonSchema[None] = only_if("payoff", "The amount that settles the loan on this day.")
    past_due: Money | SkipJsonSchema[None] = only_if("arrears", "The amount that is past due.")
    days_past_due: DaysPastDue | SkipJsonSchema[None] = only_if(
        "arrears", "The number of days since the oldest unpaid due date; 0 within the grace days."
    )
