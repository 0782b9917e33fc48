"""Which balances one request asks for: pairs of a loan and a day, or each of some loans on each of some days."""

from collections.abc import Hashable, Sequence
from datetime import date
from itertools import product
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.errors import InvalidRequest
from service.web.error_handlers import MAX_ERRORS
from service.web.schemas.body_fields import BodyDay, BodyId
from service.web.schemas.common import omit_default

MAX_BALANCES = 10_000


class Pair(BaseModel):
    """A loan on a day."""

    model_config = ConfigDict(extra="forbid")

    loan_id: BodyId
    date: BodyDay


def _unique(schema: dict[str, Any]) -> None:
    omit_default(schema)
    schema["uniqueItems"] = True


def _list_of(what: str) -> Any:
    return Field(
        default=None,
        min_length=1,
        max_length=MAX_BALANCES,
        description=f"{what}, none of them twice",
        json_schema_extra=_unique,
    )


class BalanceBatchBody(BaseModel):
    """Pairs, or loans and days."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [
                {"required": ["pairs"], "not": {"anyOf": [{"required": ["loan_ids"]}, {"required": ["dates"]}]}},
                {"required": ["loan_ids", "dates"], "not": {"required": ["pairs"]}},
            ],
            "example": {"loan_ids": [1, 2, 3], "dates": ["2020-06-30", "2020-12-31"]},
        },
    )

    pairs: list[Pair] = _list_of("loans on days")
    loan_ids: list[BodyId] = _list_of("loans")
    dates: list[BodyDay] = _list_of("days on which each of `loan_ids` is asked about")
    snapshot: bool = Field(
        default=False,
        strict=True,
        description="whether all of them are to be of one moment: read for this request, and from no cache",
    )

    def asked(self) -> list[tuple[int, date]]:
        """The pairs, in the order of the request.

        Raises: InvalidRequest for lists that do not go together, what is there twice, and more than MOST_BALANCES.
        """
        given = self.model_fields_set - {"snapshot"}
        if given == {"pairs"}:
            pairs = [(pair.loan_id, pair.date) for pair in self.pairs]
            _reject_duplicates("pairs", pairs)
            return pairs
        if given != {"loan_ids", "dates"}:
            expected = "expected either `pairs`, or `loan_ids` and `dates`"
            raise InvalidRequest([(field, expected) for field in sorted(given)] or [("pairs", expected)])
        _reject_duplicates("loan_ids", self.loan_ids)
        _reject_duplicates("dates", self.dates)
        if (count := len(self.loan_ids) * len(self.dates)) > MAX_BALANCES:
            expected = f"expected at most {MAX_BALANCES} balances, and this would be {count}"
            raise InvalidRequest([("loan_ids", expected), ("dates", expected)])
        return list(product(self.loan_ids, self.dates))


def _reject_duplicates(field: str, values: Sequence[Hashable]) -> None:
    if len(set(values)) == len(values):
        return
    seen: set[Hashable] = set()
    wrong = []
    for number, value in enumerate(values):
        if value in seen:
            wrong.append((f"{field}.{number}", "is there twice in this request"))
        seen.add(value)
    raise InvalidRequest(wrong[:MAX_ERRORS])
