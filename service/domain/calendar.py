"""The current date in the time zone of the service."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo


class Calendar:
    """Converts moments to dates in one time zone.

    Args:
        timezone: An IANA name, such as `Europe/Paris`.
    """

    def __init__(self, timezone: str = "UTC") -> None:
        self._zone = ZoneInfo(timezone)

    def today(self, moment: datetime | None = None) -> date:
        """Return the date at a moment, now by default."""
        return (moment.astimezone(self._zone) if moment else datetime.now(self._zone)).date()


def latest_post_date(today: date, max_future_days: int) -> date | None:
    """Return the latest date of a new event; None for any, which 0 days ahead stand for."""
    if max_future_days == 0:
        return None
    return today + min(timedelta(days=max_future_days), date.max - today)
