"""The provider that enforces access policies."""

from microkubes.own_packages import own_packages

with own_packages():
    from security.context import SecurityContext
    from security.messages import Request, Response
    from security.providers.acl import ACLProvider as _ACLProvider
    from security.providers.acl import Policy

__all__ = ["ACLProvider", "Policy"]


class ACLProvider(_ACLProvider):
    """The provider, with the method that the library has beside the call."""

    def execute(self, ctx: SecurityContext, req: Request, resp: Response) -> None:
        """Check a request, as calling the provider does."""
        self(ctx, req, resp)
