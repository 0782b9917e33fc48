"""The security chain in a Flask application. No other module of the package imports Flask."""

from collections.abc import Callable, Iterable
from functools import partial, wraps
from os import PathLike
from typing import Any, TypeVar

from flask import Response as FlaskResponse
from flask import after_this_request, current_app, g, has_app_context, make_response, request

from security.chain import (
    Provider,
    SecurityChain,
    is_authenticated_provider,
    public_routes_provider,
    scopes_provider,
)
from security.context import SecurityContext
from security.errors import SecurityException
from security.keys.store import KeyStore
from security.messages import Request, Response
from security.names import parse_scopes
from security.problem import to_response
from security.providers.acl import ACLProvider
from security.providers.jwt import JWTProvider
from security.providers.oauth2 import OAuth2Provider

View = TypeVar("View", bound=Callable[..., Any])

# The positions for custom providers, in order; the built-in providers are between them.
POSITIONS = ("first", "after_public", "after_jwt", "last", "final")
_POSITION_ALIASES = {
    "before_jwt": "after_public",
    "before_oauth": "after_jwt",
    "before_oauth2": "after_jwt",
    "after_oauth": "last",
    "after_oauth2": "last",
}


class FlaskSecurityError(Exception):
    """A configuration error in the security of a Flask application."""


class FlaskSecurityContext(SecurityContext):
    """A security context with one identity per request, in Flask's `g`."""

    def __init__(self) -> None:
        super().__init__(g)

    def clear_auth(self) -> None:
        """Remove the identity, if there is an application context that could hold one."""
        if has_app_context():
            super().clear_auth()


class Security:
    """Guards the views of a Flask application with a security chain.

    Args:
        security_chain: The chain to run.
        context: The context that the chain uses.
        json_response: Whether rejections are problem documents instead of plain text.
    """

    def __init__(self, security_chain: SecurityChain, context: SecurityContext, json_response: bool = True) -> None:
        self.security_chain = security_chain
        self.context = context
        self.json_response = json_response

    def check(
        self, scopes: str | Iterable[str] = (), message: Request | None = None
    ) -> tuple[bool, FlaskResponse | None]:
        """Run the chain on the current request. The identity stays in the context until the response is closed.

        Args:
            scopes: The scopes that the identity needs.
            message: The request as the chain sees it; by default the current request, unchanged.

        Returns:
            Whether the request is admitted, and the response to send instead of the view's, if any.
        """
        message, response = message or Request(request), Response()
        try:
            self.security_chain.execute(message, response)
            if required := parse_scopes(scopes):
                scopes_provider(*required)(self.context, message, response)
        except SecurityException as err:
            self.context.clear_auth()
            status, headers, body = to_response(err)
            if not self.json_response:
                body, headers["Content-Type"] = str(err), "text/plain; charset=utf-8"
            return False, make_response(body, status, {**response.headers, **headers})
        if response.modified:
            self.context.clear_auth()
            return True, make_response(response.get_response_body(), response.status_code, response.headers)
        after_this_request(partial(self._finish, headers=response.headers))
        return True, None

    def _finish(self, response: FlaskResponse, headers: dict[str, str]) -> FlaskResponse:
        response.headers.update(headers)
        response.call_on_close(self.context.clear_auth)
        return response

    def secured(self, view: View | None = None, *, scopes: str | Iterable[str] = ()) -> Any:
        """Guard a view: `@sec.secured` below `@app.route`, or `@sec.secured(scopes=["api:write"])`."""
        if view is None:
            return lambda view: self.secured(view, scopes=scopes)
        required = parse_scopes(scopes)

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            _, response = self.check(required)
            return current_app.ensure_sync(view)(*args, **kwargs) if response is None else response

        return guarded


class FlaskSecurity:
    """A builder of `Security` objects: `FlaskSecurity().keys_dir("./keys").jwt().build()`.

    Args:
        context: Where to keep identities; Flask's `g` by default.
        key_store: The trusted keys, instead of `keys_dir` and `use_key`.
    """

    key_store_type: type[KeyStore] = KeyStore  # what keys_dir() and use_key() create

    def __init__(self, context: SecurityContext | None = None, key_store: KeyStore | None = None) -> None:
        self.key_store = key_store
        self._context = context or FlaskSecurityContext()
        self._public: list[Provider] = []
        self._jwt: list[Provider] = []
        self._oauth2: list[Provider] = []
        self._acl: list[Provider] = []
        self._jwt_options: dict[str, Any] = {}
        self._oauth2_options: dict[str, Any] = {}
        self._custom: list[tuple[Provider, str]] = []

    def keys_dir(self, path: str | PathLike[str]) -> "FlaskSecurity":
        """Trust every public key in a directory."""
        if self.key_store is not None:
            raise FlaskSecurityError("the key store is already defined")
        self.key_store = self.key_store_type(dir_path=path)
        return self

    def use_key(self, key_name: str, key_file: str | PathLike[str]) -> "FlaskSecurity":
        """Trust another public key."""
        if self.key_store is None:
            self.key_store = self.key_store_type()
        self.key_store.add_key(key_name, key_file)
        return self

    def jwt(
        self, header: str = "Authorization", schema: str = "Bearer", algs: list[str] | None = None, **options: Any
    ) -> "FlaskSecurity":
        """Accept JWTs signed with a key of the store.

        Args:
            header: The header of the token.
            schema: The authentication scheme before the token.
            algs: The accepted algorithms; all supported ones by default.
            **options: Further options of `TokenVerifier`.
        """
        self._jwt = [JWTProvider(self._require_key_store(), header=header, auth_schema=schema, algs=algs, **options)]
        self._jwt_options = options
        return self

    def oauth2(self, algs: list[str] | None = None, **options: Any) -> "FlaskSecurity":
        """Accept OAuth2 access tokens.

        Args:
            algs: The accepted algorithms; all supported ones by default.
            **options: Further options of `OAuth2Provider`. The key store is used unless they name another source.
        """
        store = None if options.get("keys") or options.get("introspector") else self._require_key_store()
        self._oauth2 = [OAuth2Provider(store, algs, **options)]
        self._oauth2_options = options if store is not None else {}
        return self

    def acl(self, config: Any) -> "FlaskSecurity":
        """Reject requests that no policy allows.

        Args:
            config: The policies, in a form that `ACLProvider` accepts.
        """
        self._acl = [ACLProvider(config)]
        return self

    def saml(self, config: Any = None) -> "FlaskSecurity":
        """Fail: SAML is not supported.

        Raises:
            FlaskSecurityError: Always.
        """
        raise FlaskSecurityError(
            "SAML is not supported: it needs browser redirects and sessions, and this chain authenticates API clients "
            "by tokens. Sign users in at the identity provider of the platform, and use jwt() or oauth2()"
        )

    def public_route(self, *patterns: str) -> "FlaskSecurity":
        """Admit every request whose whole path matches one of the regular expressions."""
        self._public.append(public_routes_provider(*patterns))
        return self

    static_files = public_route

    def add_provider(self, provider: Provider, position: str | None = "last") -> "FlaskSecurity":
        """Add a custom provider at one of the `POSITIONS`."""
        place = _POSITION_ALIASES.get(position, position) if position else "last"
        if place not in POSITIONS:
            names = ", ".join((*POSITIONS, *_POSITION_ALIASES))
            raise FlaskSecurityError(f"position {position!r} is not one of {names}")
        self._custom.append((provider, place))
        return self

    def build_chain(self) -> SecurityChain:
        """Build the chain: public routes, JWT, OAuth2, authentication, ACL, and custom providers at their positions."""
        if self.key_store is not None:
            self.key_store.verification_keys()  # validates keys that were added after the providers
        elif not self._oauth2:
            self._require_key_store()
        self._reject_inconsistent_options()
        built_in = {
            "first": self._public,
            "after_public": self._jwt,
            "after_jwt": self._oauth2,
            "last": [is_authenticated_provider, *self._acl],
        }
        chain = SecurityChain(self._context)
        for place in POSITIONS:
            custom = [provider for provider, at in self._custom if at == place]
            for provider in [*custom, *built_in.get(place, [])]:
                chain.provider(provider)
        return chain

    def build(self) -> Security:
        """Build the `Security` object."""
        return Security(self.build_chain(), self._context)

    def _reject_inconsistent_options(self) -> None:
        # Both providers trust the same keys, so jwt() must not admit a token that oauth2() rejects.
        required = ("issuer", "audience", "scopes")
        missing = [name for name in required if self._oauth2_options.get(name) != self._jwt_options.get(name)]
        if self._jwt and self._oauth2 and any(self._oauth2_options.get(name) for name in missing):
            raise FlaskSecurityError(
                f"jwt() would admit tokens that oauth2() rejects because of their {', '.join(missing)}. "
                "Remove jwt(), set the same issuer and audience for both, or require scopes on routes"
            )

    def _require_key_store(self) -> KeyStore:
        if self.key_store is None:
            raise FlaskSecurityError("no key store is defined; call keys_dir() or use_key() first")
        return self.key_store
