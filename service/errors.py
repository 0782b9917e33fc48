"""The service's exceptions."""

from datetime import datetime

from service.invocation import command_line


class LoanerError(Exception):
    """The base class of the service's errors."""


class SettingsError(LoanerError):
    """A setting is missing or invalid. The message names it."""


class NoSigningKey(LoanerError):
    """The service has no signing key, so it cannot issue tokens."""

    def __init__(self) -> None:
        super().__init__(f"this service has no signing key; create one with: {command_line('keys generate')}")


class InvalidRequest(LoanerError):
    """A request that the interface does not accept.

    Args:
        errors: A pair of field and detail for each invalid part.
    """

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {detail}" for field, detail in errors))
        self.errors = errors


class RequestRefused(LoanerError):
    """A request is refused before the application sees it.

    Args:
        status: The HTTP status of the reply.
        message: The reason, for the client.
        closes: Whether the connection is closed after the reply. It must be if the request was not read to its end:
            the rest would be taken for the next request (RFC 9112, section 9.6).
        retry_after_s: When the client may retry, in seconds.
    """

    def __init__(self, status: int, message: str, *, closes: bool = False, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.closes = closes
        self.retry_after_s = retry_after_s


class ServiceBusy(RequestRefused):
    """As many requests wait as may wait."""

    def __init__(self) -> None:
        super().__init__(503, "the service is busy; retry later", retry_after_s=1)


class UnknownLoan(LoanerError):
    """The loan does not exist.

    Args:
        loan_id: The loan.
        fresh_as_of: When the loan was looked up, in seconds of the freshness clock.
    """

    def __init__(self, loan_id: int, fresh_as_of: float = float("inf")) -> None:
        super().__init__(f"no such loan: {loan_id}")
        self.loan_id = loan_id
        self.fresh_as_of = fresh_as_of


class LoanExists(LoanerError):
    """A loan with this id exists."""

    def __init__(self, loan_id: int) -> None:
        super().__init__(f"loan {loan_id} already exists")
        self.loan_id = loan_id


class PostingRefused(LoanerError):
    """Well-formed records that the ledger rejects. None of them was posted.

    Args:
        errors: A pair of field and detail for each rejected part.
    """

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {detail}" for field, detail in errors))
        self.errors = errors


class EventsExist(PostingRefused):
    """The ledger already has these events."""


class RecordExists(PostingRefused):
    """The ledger already has these terms or this schedule."""


class KeyReused(LoanerError):
    """An Idempotency-Key was used for two different requests."""

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used for a different request; use a new key")


class VersionNotReached(LoanerError):
    """A loan has not reached the requested version.

    Args:
        loan_id: The loan.
        version: The loan's version.
        requested: The requested version.
    """

    def __init__(self, loan_id: int, version: int, requested: int) -> None:
        super().__init__(f"loan {loan_id} is at version {version}; it has not reached version {requested}")
        self.loan_id = loan_id
        self.version = version


class VersionChanged(LoanerError):
    """A loan is not at the version that the caller of a posting expected. Nothing was posted.

    Args:
        loan_id: The loan.
        version: The loan's version.
        expected: The versions that the caller expected; none if only the ETags of other replies were given.
    """

    def __init__(self, loan_id: int, version: int, expected: tuple[int, ...]) -> None:
        names = " or ".join(map(str, expected)) if expected else "one that `If-Match` names"
        super().__init__(f"loan {loan_id} is at version {version}, not {names}; read it again before posting")
        self.loan_id = loan_id
        self.version = version


class AmountTooLarge(LoanerError):
    """An amount to show does not fit 64 bits of minor units.

    Args:
        loan_id: The loan.
    """

    def __init__(self, loan_id: int) -> None:
        super().__init__(f"an amount of loan {loan_id} is too large to show: it exceeds 64 bits of minor units")
        self.loan_id = loan_id


class PeriodNotClosed(LoanerError):
    """The ledger was not closed until the day that was requested."""


class TimeNotReached(LoanerError):
    """Records may still be recorded before the requested `known_at`.

    Args:
        until: Only times before this one are final.
    """

    def __init__(self, until: datetime) -> None:
        limit = until.isoformat(timespec="microseconds")
        super().__init__(f"known_at is too recent: only times before {limit} are final")
        self.until = until


class DatabaseUnavailable(LoanerError):
    """PostgreSQL cannot be reached or does not answer.

    Args:
        message: The reason.
        retry_after_s: When to retry, in seconds.
    """

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OutcomeUnknown(DatabaseUnavailable):
    """The connection was lost before PostgreSQL confirmed a commit, so the write may have happened."""


class DatabaseBusy(DatabaseUnavailable):
    """Every connection to PostgreSQL is in use."""


class QueryTimeout(DatabaseUnavailable):
    """PostgreSQL was still computing a query when its time was up."""


class CredentialsRefused(DatabaseUnavailable):
    """PostgreSQL answers, but rejects the credentials."""


def first_line(err: Exception) -> str:
    """Return the first line of an error's message, without the advice that libraries append."""
    return str(err).strip().partition("\n")[0]
