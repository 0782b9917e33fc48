"""Filters of the templates: how times, names and commands are written."""

from datetime import UTC, datetime
from shlex import quote

from flask import Blueprint

from native import to_date
from service.domain.arrears import BUCKETS
from service.ledger.posting import to_rfc3339
from service.plural import counted


def add_filters(routes: Blueprint) -> None:
    """Add the filters to the templates of an application, with the page's blueprint."""
    for filter_ in (bucket_name, counted, event_name, event_names, in_utc, sentence, shell_quote, to_date, to_rfc3339):
        routes.add_app_template_filter(filter_)


def in_utc(moment: datetime) -> str:
    """Write a time in UTC for people: `2020-07-01 12:00:00`, with a fraction of the second only if it has one."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None)}"


def bucket_name(bucket: str) -> str:
    """Write a bucket of days past due for people: `31 to 60 days` for `31-60`."""
    return "Current" if bucket == BUCKETS[0] else f"{bucket.replace('-', ' to ').capitalize()} days"


def event_name(event_type: str) -> str:
    """Write the type of an event for people: `Interest credit` for `interest_credit`."""
    return event_type.replace("_", " ").capitalize()


def event_names(event_type: str) -> str:
    """Write the type of several events for people: `Fees` for `fee`."""
    return event_name(event_type) if event_type.endswith("interest") else f"{event_name(event_type)}s"


def shell_quote(text: str) -> str:
    """Quote a text for a shell."""
    return quote(text)


def sentence(text: str) -> str:
    """Write a message of a parser as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."
