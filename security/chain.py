"""A chain of security providers that authenticates and authorizes requests."""

import logging
import re
from collections.abc import Callable, Iterable

from security.context import SecurityContext
from security.errors import (
    BreakChain,
    InsufficientScope,
    InvalidToken,
    KeyException,
    NotAuthenticated,
    PolicyError,
    SecurityException,
)
from security.messages import Request, Response
from security.names import parse_scopes

log = logging.getLogger(__name__)

# A provider returns if no credentials of its kind are presented, sets the identity in the context if they are valid,
# and raises if they are not. It may also raise BreakChain, or end the response.
Provider = Callable[[SecurityContext, Request, Response], None]


def _log_rejection(reason: str) -> None:
    log.info("rejected a token: %s", reason)


class SecurityChain:
    """Runs its providers in order. `execute` returns for an admitted request and raises for a rejected one.

    Args:
        security_context: Where to keep the identity; it can also be set later.
        providers: The first providers.

    Attributes:
        on_rejected_token: Receives the reasons why a token was rejected; logs them by default.
    """

    def __init__(self, security_context: SecurityContext | None = None, providers: Iterable[Provider] = ()) -> None:
        self.security_context = security_context
        self.providers: list[Provider] = list(providers)
        self.on_rejected_token: Callable[[str], None] = _log_rejection

    def with_security_context(self, security_context: SecurityContext) -> "SecurityChain":
        """Set the context and return the chain."""
        self.security_context = security_context
        return self

    def provider(self, security_provider: Provider) -> "SecurityChain":
        """Append a provider and return the chain."""
        self.providers.append(security_provider)
        return self

    def execute(self, req: Request, resp: Response) -> None:
        """Run the providers on a request, starting without an identity.

        An invalid token does not stop the chain. If no provider authenticates the request, the error reports the
        invalid token instead of a missing one.

        Raises:
            SecurityException: If the request is rejected; it has the status and the headers of the response.
        """
        if self.security_context is None:
            raise SecurityException("the security chain has no security context")
        self.execute_in(self.security_context, req, resp)

    def execute_in(self, context: SecurityContext, req: Request, resp: Response) -> None:
        """Run the providers as `execute` does, with another context than the chain's own.

        Raises:
            SecurityException: If the request is rejected.
        """
        context.clear_auth()
        try:
            self._run_providers(context, req, resp)
        except Exception:
            context.clear_auth()
            raise

    def _run_providers(self, context: SecurityContext, req: Request, resp: Response) -> None:
        failures: list[tuple[str, str]] = []
        for provider in self.providers:
            try:
                provider(context, req, resp)
            except BreakChain:
                return
            except InvalidToken as err:
                failures.append((_provider_name(provider), str(err)))
            except NotAuthenticated as err:
                if failures:
                    self.on_rejected_token("; ".join(f"{name}: {reason}" for name, reason in failures))
                raise (InvalidToken(failures[0][1], failures) if failures else err) from None
            except (KeyException, PolicyError) as err:
                log.exception("%s is misconfigured", _provider_name(provider))
                raise SecurityException("the request could not be checked") from err
            except SecurityException:
                raise
            except Exception as err:
                log.exception("%s failed", _provider_name(provider))
                raise SecurityException("the request could not be checked") from err
            if resp.ended:
                return


def _provider_name(provider: Provider) -> str:
    return getattr(provider, "__name__", type(provider).__name__)


def is_authenticated_provider(context: SecurityContext, req: Request, resp: Response) -> None:
    """Reject the request with 401 unless an earlier provider has set an identity."""
    if not context.has_auth():
        raise NotAuthenticated()


def scopes_provider(*scopes: str) -> Provider:
    """Return a provider that rejects identities without all of the scopes: 403, or 401 without an identity."""
    required = parse_scopes(scopes)

    def check_scopes(context: SecurityContext, req: Request, resp: Response) -> None:
        auth = context.get_auth()
        if auth is None:
            raise NotAuthenticated()
        if not auth.has_scopes(required):
            raise InsufficientScope(" ".join(required))

    return check_scopes


def public_routes_provider(*patterns: str | re.Pattern[str]) -> Provider:
    """Return a provider that admits requests without further checks if a pattern matches the whole path.

    Raises:
        ValueError: If no pattern is given, or one is not a regular expression.
    """
    if not patterns:
        raise ValueError("public routes need at least one pattern")
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except (TypeError, re.error) as err:
        raise ValueError(f"public routes must be regular expressions: {err}") from err

    def public_routes(context: SecurityContext, req: Request, resp: Response) -> None:
        if any(pattern.fullmatch(req.path or "") for pattern in compiled):
            raise BreakChain()

    return public_routes
