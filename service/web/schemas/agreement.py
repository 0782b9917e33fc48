"""Bodies of requests that post terms and schedules. Unknown members are rejected."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainSerializer, WithJsonSchema

from native import DAY_COUNTS, PARTS
from service.domain.due_dates import due_dates
from service.domain.parsing import parse_choice
from service.domain.schedule import MAX_INSTALLMENTS, MAX_MONTHS, METHODS, ScheduleMethod
from service.domain.terms import MAX_GRACE_DAYS, parse_day_count, parse_part, parse_rate
from service.errors import InvalidRequest
from service.ledger.agreement_posting import NewSchedule, NewTerms, Reversal
from service.web.schemas.body_fields import (
    ID_SCHEMA,
    BodyDay,
    BodyId,
    BodyMemo,
    BodyPositiveAmount,
    BodySourceId,
    parsed_string,
)
from service.web.schemas.common import omit_default
from service.web.schemas.posting import ExpectingBody

_TERMS = ("effective_date", "rate", "day_count", "allocation", "grace_days")
_METHOD = ("method", "count", "first_due_date", "every_months")
_LIST_FORM = ("effective_date", "installments")
_METHOD_FORM = ("effective_date", *_METHOD)
_ALLOCATION_EXAMPLE: list[JsonValue] = list(PARTS)

Rate = Annotated[
    Decimal,
    parsed_string(parse_rate),
    PlainSerializer(lambda rate: format(rate.normalize(), "f"), when_used="json"),  # equal rates have one digest
    WithJsonSchema(
        {"type": "string", "pattern": r"^(10(\.0{1,8})?|0?[0-9](\.[0-9]{1,8})?)$", "example": "0.10"},
        mode="validation",
    ),
]
DayCount = Annotated[
    str,
    parsed_string(parse_day_count),
    WithJsonSchema({"type": "string", "enum": list(DAY_COUNTS), "example": DAY_COUNTS[0]}),
]
MethodName = Literal["annuity", "equal_principal", "bullet"]
Part = Annotated[str, parsed_string(parse_part), WithJsonSchema({"type": "string", "enum": list(PARTS)})]


def _optional(description: str, **schema: Any) -> Any:
    """Declare a member that not every form of a body has."""

    def extra(documented: dict[str, Any]) -> None:
        omit_default(documented)
        documented |= schema

    return Field(default=None, description=description, json_schema_extra=extra)


def _forms(*forms: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the schema of a body that has the members of exactly one of these forms.

    Args:
        forms: The required members of each form. A member that is not among those of a form is not allowed in it.
        optional: Members that the last form may have, too.
    """
    members = dict.fromkeys(member for form in forms for member in form)
    schemas = []
    for form in forms:
        allowed = (*form, *optional) if form is forms[-1] else form
        foreign = [{"required": [member]} for member in (*members, *optional) if member not in allowed]
        schemas.append({"required": list(form), "not": {"anyOf": foreign}})
    return {"oneOf": schemas}


class _AgreementBody(ExpectingBody):
    reverses: Annotated[BodyId, WithJsonSchema(ID_SCHEMA)] = Field(
        default=0,
        description="The `version` of the record that this one takes back: neither of them counts. It can be reversed "
        "once, and a reversal cannot be reversed. A reversal has no other members than `source_id`, `memo` and "
        "`expected_version`.",
        json_schema_extra=omit_default,
    )
    source_id: BodySourceId = Field(
        default="",
        description="The caller's own id of the record: printable characters, unique among the records of this kind "
        "and loan.",
        json_schema_extra=omit_default,
    )
    memo: BodyMemo = Field(
        default="",
        description="Why the record is posted: text without control characters that a spreadsheet does not take for a "
        "formula.",
        json_schema_extra=omit_default,
    )

    def _check_form(self, form: tuple[str, ...], members: tuple[str, ...]) -> None:
        """Check that the body has the members of a form, and no others of `members`.

        Raises:
            InvalidRequest: If it has not.
        """
        given = self.model_fields_set
        errors = [(name, "missing") for name in form if name not in given]
        errors += [(name, f"not allowed beside `{form[-1]}`") for name in members if name in given and name not in form]
        if errors:
            raise InvalidRequest(errors)


class TermsBody(_AgreementBody):
    """Terms of a loan from a day on, or the reversal of earlier ones."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            **_forms(("reverses",), _TERMS),
            "example": {
                "effective_date": "2020-01-01",
                "rate": "0.10",
                "day_count": DAY_COUNTS[0],
                "allocation": _ALLOCATION_EXAMPLE,
                "grace_days": 10,
            },
        },
    )

    effective_date: BodyDay = _optional("The day from which the terms apply, that day's interest included.")
    rate: Rate = _optional("The rate per year, from 0 to 10 with at most 8 decimals: `0.10` is 10 %.")
    day_count: DayCount = _optional("How the days of a year are counted.")
    allocation: Annotated[list[Part], Field(min_length=3, max_length=3)] = _optional(
        "What a payment pays first: `fees`, `interest` and `principal` in any order.",
        uniqueItems=True,
        example=_ALLOCATION_EXAMPLE,
    )
    grace_days: Annotated[int, Field(strict=True, ge=0, le=MAX_GRACE_DAYS)] = _optional(
        "How many days an installment may be late before it is past due."
    )

    def to_terms(self) -> NewTerms | Reversal:
        """Convert the body to terms of the ledger.

        Raises:
            InvalidRequest: If a member is missing, or is not allowed beside another.
        """
        if self.reverses:
            self._check_form(("reverses",), _TERMS)
            return Reversal(self.reverses)
        self._check_form(_TERMS, ())
        if set(self.allocation) != set(PARTS):
            raise InvalidRequest([("allocation", f"expected each of {', '.join(PARTS)} once")])
        return NewTerms(self.effective_date, self.rate, self.day_count, tuple(self.allocation), self.grace_days)


class InstallmentBody(BaseModel):
    """What is due on a day."""

    model_config = ConfigDict(extra="forbid")

    due_date: BodyDay = Field(description="The day on which it is due, YYYY-MM-DD.")
    amt: BodyPositiveAmount = Field(
        description="The amount: above zero, with at most as many decimals as the currency has."
    )


class ScheduleBody(_AgreementBody):
    """A schedule of a loan from a day on: installments, or how to compute them; or the reversal of an earlier one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            **_forms(("reverses",), _LIST_FORM, _METHOD_FORM, optional=("end_of_month",)),
            "example": {
                "effective_date": "2020-01-01",
                "installments": [
                    {"due_date": "2020-02-01", "amt": "500.00"},
                    {"due_date": "2020-03-01", "amt": "510.00"},
                ],
            },
        },
    )

    effective_date: BodyDay = _optional("The day from which the schedule applies, YYYY-MM-DD.")
    installments: Annotated[list[InstallmentBody], Field(min_length=1, max_length=MAX_INSTALLMENTS)] = _optional(
        "The installments, in ascending order of their due dates."
    )
    method: Annotated[
        MethodName, parsed_string(parse_choice(METHODS)), WithJsonSchema({"type": "string", "enum": list(METHODS)})
    ] = _optional(
        "Computes the installments from the principal on the effective date and the loan's own terms: `annuity` (equal "
        "amounts), `equal_principal` (equal parts of the principal, plus interest) or `bullet` (interest, and the "
        "principal with the last)."
    )
    count: Annotated[int, Field(strict=True, ge=1, le=MAX_INSTALLMENTS)] = _optional("The number of installments.")
    first_due_date: BodyDay = _optional("The due date of the first installment, after `effective_date`.")
    every_months: Annotated[int, Field(strict=True, ge=1, le=MAX_MONTHS)] = _optional(
        "The number of months between due dates."
    )
    end_of_month: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Whether each due date is the last day of its month. Otherwise it is the day of `first_due_date`, "
        "or the month's last if that is earlier.",
    )

    def to_schedule(self) -> NewSchedule | ScheduleMethod | Reversal:
        """Convert the body to a schedule of the ledger, or to the method that computes one.

        Raises:
            InvalidRequest: If a member is missing or not allowed beside another, or the due dates are not in order.
        """
        members = (*_LIST_FORM, *_METHOD, "end_of_month")
        if self.reverses:
            self._check_form(("reverses",), members)
            return Reversal(self.reverses)
        if "installments" not in self.model_fields_set:
            self._check_form(_METHOD_FORM, ())
            try:
                due_dates(self.first_due_date, self.count, self.every_months, end_of_month=self.end_of_month)
            except ValueError as err:
                raise InvalidRequest([("first_due_date", str(err))]) from None
            return ScheduleMethod(
                self.method, self.count, self.first_due_date, self.every_months, end_of_month=self.end_of_month
            )
        self._check_form(_LIST_FORM, members)
        installments = [(each.due_date, each.amt) for each in self.installments]
        _check_order([due_date for due_date, _ in installments])
        return NewSchedule(self.effective_date, installments)


def _check_order(days: list[date]) -> None:
    late = [n for n in range(1, len(days)) if days[n] < days[n - 1]]
    if late:
        expected = "expected a date that is not before that of the previous installment"
        raise InvalidRequest([(f"installments.{n}.due_date", expected) for n in late])
