"""The current date."""

from datetime import UTC, date, datetime

from service.domain.calendar import Calendar


def test_today_depends_on_the_time_zone():
    moment = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
    assert Calendar("Pacific/Kiritimati").today(moment) == date(2026, 3, 2)
    assert Calendar("Pacific/Pago_Pago").today(moment) == date(2026, 2, 28)


def test_today_defaults_to_the_current_moment():
    before = datetime.now(UTC).date()
    assert before <= Calendar().today() <= datetime.now(UTC).date()
