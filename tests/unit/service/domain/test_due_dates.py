"""Due dates at equal intervals of months."""

from datetime import date

import pytest

from service.domain.due_dates import due_dates


def written(first: str, *arguments, **options) -> list[str]:
    return [day.isoformat() for day in due_dates(date.fromisoformat(first), *arguments, **options)]


@pytest.mark.parametrize(
    ("first", "count", "every_months", "expected"),
    [
        ("2023-11-15", 4, 1, ["2023-11-15", "2023-12-15", "2024-01-15", "2024-02-15"]),
        ("2024-01-31", 4, 1, ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]),
        ("2023-01-30", 3, 1, ["2023-01-30", "2023-02-28", "2023-03-30"]),
        ("2024-02-29", 3, 12, ["2024-02-29", "2025-02-28", "2026-02-28"]),
        ("2023-10-31", 4, 3, ["2023-10-31", "2024-01-31", "2024-04-30", "2024-07-31"]),
        ("2024-12-31", 1, 7, ["2024-12-31"]),
        ("9999-11-30", 2, 1, ["9999-11-30", "9999-12-30"]),
    ],
)
def test_later_dates_have_the_day_of_the_first_or_the_last_of_a_shorter_month(first, count, every_months, expected):
    assert written(first, count, every_months) == expected


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("2023-02-28", ["2023-02-28", "2023-03-31", "2023-04-30"]),
        ("2024-02-29", ["2024-02-29", "2024-03-31", "2024-04-30"]),
        ("2024-04-30", ["2024-04-30", "2024-05-31", "2024-06-30"]),
    ],
)
def test_with_end_of_month_each_date_is_the_last_of_its_month(first, expected):
    assert written(first, 3, 1, end_of_month=True) == expected


def test_a_first_date_within_a_month_contradicts_end_of_month():
    with pytest.raises(ValueError, match="last day of its month"):
        due_dates(date(2024, 2, 28), 3, 1, end_of_month=True)


@pytest.mark.parametrize(("count", "every_months"), [(2, 1), (3, 1200), (1200, 1200)])
def test_dates_after_the_year_9999_are_rejected(count, every_months):
    with pytest.raises(ValueError, match="9999-12-31"):
        due_dates(date(9999, 12, 31), count, every_months)
