"""The chain of security providers that every request goes through."""

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

log = logging.getLogger(__name__)

# A provider has three outcomes: nothing presented (it returns and the chain goes on), an identity established (set in
# the context), presented and bad (it raises). It may also raise BreakChain, or end the response.
Provider = Callable[[SecurityContext, Request, Response], None]


class SecurityChain:
    """Asks its providers in order. `execute` returns when the request may go on, and raises when it may not."""

    def __init__(self, security_context: SecurityContext | None = None, providers: Iterable[Provider] = ()) -> None:
        self.security_context = security_context
        self.providers: list[Provider] = list(providers)

    def with_security_context(self, security_context: SecurityContext) -> "SecurityChain":
        """Use this context; returns the chain itself."""
        self.security_context = security_context
        return self

    def provider(self, security_provider: Provider) -> "SecurityChain":
        """Add a provider at the end; returns the chain itself."""
        self.providers.append(security_provider)
        return self

    def execute(self, req: Request, resp: Response) -> None:
        """Ask each provider about one request. Whatever identity the context held before is forgotten first.

        A bad token is kept, and the chain goes on; should a later provider find that nobody is authenticated, the
        client is told of the bad token rather than of a missing one.

        Raises: SecurityException, with the status and headers for the reply.
        """
        context = self.security_context
        if context is None:
            raise SecurityException("the security chain has no security context")
        context.clear_auth()
        try:
            self._ask_providers(context, req, resp)
        except Exception:
            context.clear_auth()
            raise

    def _ask_providers(self, context: SecurityContext, req: Request, resp: Response) -> None:
        failures: list[tuple[str, str]] = []
        for provider in self.providers:
            try:
                provider(context, req, resp)
            except BreakChain:
                return
            except InvalidToken as err:
                failures.append((_name(provider), str(err)))
            except NotAuthenticated as err:
                if failures:
                    log.info("refused a token: %s", "; ".join(f"{name}: {reason}" for name, reason in failures))
                raise (InvalidToken(failures[0][1], failures) if failures else err) from None
            except (KeyException, PolicyError) as err:
                log.exception("%s cannot work", _name(provider))
                raise SecurityException("the request could not be checked") from err
            except SecurityException:
                raise
            except Exception as err:
                log.exception("%s failed", _name(provider))
                raise SecurityException("the request could not be checked") from err
            if resp.ended:
                return


def _name(provider: Provider) -> str:
    return getattr(provider, "__name__", type(provider).__name__)


def is_authenticated_provider(context: SecurityContext, req: Request, resp: Response) -> None:
    """The provider that ends a chain: raises 401 unless one before it has established an identity."""
    if not context.has_auth():
        raise NotAuthenticated()


def scopes_provider(*scopes: str) -> Provider:
    """A provider that raises 403 unless the identity has been granted all of these; 401 when there is no identity."""

    def check_scopes(context: SecurityContext, req: Request, resp: Response) -> None:
        auth = context.get_auth()
        if auth is None:
            raise NotAuthenticated()
        if not auth.has_scopes(scopes):
            raise InsufficientScope(" ".join(scopes))

    return check_scopes


def public_routes_provider(*patterns: str | re.Pattern[str]) -> Provider:
    """A provider that admits every request whose whole path matches one of the patterns.

    Raises: ValueError when there is no pattern or one is not a regular expression.
    """
    if not patterns:
        raise ValueError("public routes need at least one pattern")
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except (TypeError, re.error) as err:
        raise ValueError(f"public routes are regular expressions: {err}") from err

    def public_routes(context: SecurityContext, req: Request, resp: Response) -> None:
        if any(pattern.fullmatch(req.path or "") for pattern in compiled):
            raise BreakChain()

    return public_routes
