"""What can go wrong in the service, by what it means for whoever asked."""

from datetime import datetime


class LoanerError(Exception):
    """The root of the service's errors."""


class SettingsError(LoanerError):
    """The service cannot start or a command cannot run as it is set up. The message names the setting."""


class NoSigningKey(LoanerError):
    """This service has no key of its own, so it hands out no tokens."""

    def __init__(self) -> None:
        super().__init__("there is no key of this service's own to sign with; make one: service.py keys generate")


class InvalidRequest(LoanerError):
    """A request that says something the interface does not understand.

    errors: one (field, what is wrong with it) for each wrong part.
    """

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {detail}" for field, detail in errors))
        self.errors = errors


class UnknownLoan(LoanerError):
    """There is no loan of this id. known_at: there was none then, by the clock of whoever looked."""

    def __init__(self, loan_id: int, fresh_as_of: float = float("inf")) -> None:
        super().__init__(f"there is no loan {loan_id}")
        self.loan_id = loan_id
        self.fresh_as_of = fresh_as_of


class LoanExists(LoanerError):
    """There is a loan of this id already."""

    def __init__(self, loan_id: int) -> None:
        super().__init__(f"there is a loan {loan_id} already")
        self.loan_id = loan_id


class PostingRefused(LoanerError):
    """Well-formed events that the ledger cannot take; none was posted.

    errors: one (field, what is wrong with it) for each wrong part.
    """

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {detail}" for field, detail in errors))
        self.errors = errors


class EventsExist(PostingRefused):
    """The ledger has such events already."""


class KeyReused(LoanerError):
    """An Idempotency-Key came with another request than the one before."""

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used for another request; take a new one")


class VersionNotReached(LoanerError):
    """A loan does not have the version, yet, that the caller wants to see."""

    def __init__(self, loan_id: int, version: int, wanted: int) -> None:
        super().__init__(f"loan {loan_id} is at version {version}, below the version {wanted} that was asked for")
        self.loan_id = loan_id
        self.version = version


class TimeNotReached(LoanerError):
    """Something may still be recorded before the time of which a caller wants to know what was known.

    until: before it nothing will be any more.
    """

    def __init__(self, until: datetime) -> None:
        told = until.isoformat(timespec="milliseconds")
        super().__init__(
            f"what is known is settled for times before {told}, and not yet for the one that was asked for"
        )
        self.until = until


class DatabaseUnavailable(LoanerError):
    """Postgres cannot be asked now. retry_after_s: when it makes sense to try again."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OutcomeUnknown(DatabaseUnavailable):
    """What was to be written may have been, or not: the connection was lost before Postgres said so."""


class CredentialsRefused(DatabaseUnavailable):
    """Postgres answers, and does not let these credentials in."""


def first_line(err: Exception) -> str:
    """What an error says, without the advice that libraries put below it."""
    return str(err).strip().partition("\n")[0]
