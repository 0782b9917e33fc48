"""The security chain, and the requests and responses of its providers."""

from typing import Any, overload

from microkubes.own_packages import own_packages

with own_packages():
    from security.chain import Provider, is_authenticated_provider, public_routes_provider, scopes_provider
    from security.chain import SecurityChain as _SecurityChain
    from security.context import SecurityContext
    from security.errors import BreakChain, SecurityException
    from security.messages import Request, Response

__all__ = [
    "BreakChain",
    "Provider",
    "Request",
    "Response",
    "SecurityChain",
    "SecurityException",
    "is_authenticated_provider",
    "public_routes_provider",
    "scopes_provider",
]


class SecurityChain(_SecurityChain):
    """The chain, which also accepts the context as an argument, as the library's documentation shows it."""

    @overload
    def execute(self, req: Request, resp: Response) -> None: ...

    @overload
    def execute(self, context: SecurityContext, req: Request, resp: Response, /) -> None: ...

    def execute(self, *arguments: Any, **named: Any) -> None:
        """Run the providers on a request: `execute(req, resp)` or `execute(context, req, resp)`.

        Args:
            *arguments: The context, unless it is the chain's own; the request; the response.
            **named: `req` and `resp`, if they are passed by name.

        Raises:
            SecurityException: If the request is rejected.
        """
        if len(arguments) == 3:
            self.execute_in(*arguments)
        else:
            super().execute(*arguments, **named)
