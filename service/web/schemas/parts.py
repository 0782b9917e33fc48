"""Parts of balances in replies."""

from pydantic import BaseModel

from service.web.schemas.query_fields import Money


class Parts(BaseModel):
    """The unpaid amount of each part. They sum to the balance. An overpayment makes the principal negative."""

    fees: Money
    interest: Money
    principal: Money
