"""The body of a request for many balances: pairs of a loan and a date, or loans and dates."""

from collections.abc import Hashable, Sequence
from datetime import date, datetime
from itertools import product
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from service.domain.parsing import parse_time
from service.errors import InvalidRequest
from service.web.error_handlers import MAX_ERRORS
from service.web.schemas.body_fields import BodyDay, BodyId, parsed_string
from service.web.schemas.common import omit_default

MAX_BALANCES = 10_000


class Pair(BaseModel):
    """A loan and a date."""

    model_config = ConfigDict(extra="forbid")

    loan_id: BodyId
    date: BodyDay


def _unique(schema: dict[str, Any]) -> None:
    omit_default(schema)
    schema["uniqueItems"] = True


def _list_of(items: str) -> Any:
    return Field(
        default=None,
        min_length=1,
        max_length=MAX_BALANCES,
        description=f"{items}, without duplicates.",
        json_schema_extra=_unique,
    )


class BalanceBatchBody(BaseModel):
    """Either `pairs`, or `loan_ids` and `dates`: up to 10,000 balances."""

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

    pairs: list[Pair] = _list_of("Pairs of a loan and a date")
    loan_ids: list[BodyId] = _list_of("Loans")
    dates: list[BodyDay] = _list_of("Dates, for each of `loan_ids`")
    known_at: Annotated[
        datetime | None,
        parsed_string(parse_time),
        WithJsonSchema({"type": "string", "format": "date-time", "example": "2020-07-01T12:00:00Z"}),
    ] = Field(
        default=None,
        description="Answers from the events that had been recorded by this time (RFC 3339), for all loans. The answer "
        "is immutable. A time that is too recent is 412.",
        json_schema_extra=omit_default,
    )
    parts: bool = Field(
        default=False, strict=True, description="Splits each balance into fees, interest and principal."
    )
    payoff: bool = Field(
        default=False, strict=True, description="Adds `interest_uncharged` and `payoff` to each balance."
    )
    arrears: bool = Field(
        default=False, strict=True, description="Adds `past_due` and `days_past_due` to each balance."
    )
    snapshot: bool = Field(
        default=False,
        strict=True,
        description="Reads all loans from the database in one snapshot, without caches.",
    )

    def requested_pairs(self) -> list[tuple[int, date]]:
        """Return the pairs of a loan and a date in the order of the request.

        Raises:
            InvalidRequest: If the lists cannot be combined, contain duplicates or mean more than MAX_BALANCES.
        """
        given = self.model_fields_set & {"pairs", "loan_ids", "dates"}
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
            detail = f"expected at most {MAX_BALANCES} balances, got {count}"
            raise InvalidRequest([("loan_ids", detail), ("dates", detail)])
        return list(product(self.loan_ids, self.dates))


def _reject_duplicates(field: str, values: Sequence[Hashable]) -> None:
    if len(set(values)) == len(values):
        return
    seen: set[Hashable] = set()
    errors = []
    for number, value in enumerate(values):
        if value in seen:
            errors.append((f"{field}.{number}", "duplicate value"))
        seen.add(value)
    raise InvalidRequest(errors[:MAX_ERRORS])
