"""The security chain in a Flask application. The only module here that knows Flask."""

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
from security.problem import refusal
from security.providers.acl import ACLProvider
from security.providers.jwt import JWTProvider
from security.providers.oauth2 import OAuth2Provider

View = TypeVar("View", bound=Callable[..., Any])

# Where a provider of one's own may stand, in order; the built-in ones lie between.
POSITIONS = ("first", "after_public", "after_jwt", "last", "final")
_ALSO_CALLED: dict[str | None, str] = {
    "before_jwt": "after_public",
    "before_oauth": "after_jwt",
    "before_oauth2": "after_jwt",
    "after_oauth": "last",
    "after_oauth2": "last",
}


class FlaskSecurityError(Exception):
    """The security of a Flask application was put together wrongly."""


class FlaskSecurityContext(SecurityContext):
    """An identity for each request, in Flask's `g`."""

    def __init__(self) -> None:
        super().__init__(g)

    def clear_auth(self) -> None:
        """Forget the identity; outside a request there is none."""
        if has_app_context():
            super().clear_auth()


class Security:
    """A chain that is ready to guard views. json_response: whether refusals are problem documents or plain text."""

    def __init__(self, security_chain: SecurityChain, context: SecurityContext, json_response: bool = True) -> None:
        self.security_chain = security_chain
        self.context = context
        self.json_response = json_response

    def check(self, scopes: Iterable[str] = ()) -> tuple[bool, FlaskResponse | None]:
        """Ask the chain about the request at hand. scopes: what the identity must have been granted.

        The identity stays in the context until the reply is sent, and no longer.

        Returns: (whether the view may run, the reply to give instead of the view's, if any).
        """
        asked, response = Request(request), Response()
        try:
            self.security_chain.execute(asked, response)
            if needed := tuple(scopes):
                scopes_provider(*needed)(self.context, asked, response)
        except SecurityException as err:
            self.context.clear_auth()
            status, headers, body = refusal(err)
            if not self.json_response:
                body, headers["Content-Type"] = str(err), "text/plain; charset=utf-8"
            return False, make_response(body, status, {**response.headers, **headers})
        if response.modified:
            self.context.clear_auth()
            return True, make_response(response.get_response_body(), response.status_code, response.headers)
        after_this_request(partial(self._finish, headers=response.headers))
        return True, None

    def _finish(self, reply: FlaskResponse, headers: dict[str, str]) -> FlaskResponse:
        reply.headers.update(headers)
        reply.call_on_close(self.context.clear_auth)
        return reply

    def secured(self, view: View | None = None, *, scopes: Iterable[str] = ()) -> Any:
        """Guard a view: `@sec.secured` below `@app.route`, or `@sec.secured(scopes=["api:write"])`."""
        if view is None:
            return lambda view: self.secured(view, scopes=scopes)
        needed = tuple(scopes)

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            _, reply = self.check(needed)
            return current_app.ensure_sync(view)(*args, **kwargs) if reply is None else reply

        return guarded


class FlaskSecurity:
    """Builds a `Security`: `FlaskSecurity().keys_dir("./keys").jwt().build()`."""

    def __init__(self, context: SecurityContext | None = None, key_store: KeyStore | None = None) -> None:
        self.key_store = key_store
        self._context = context or FlaskSecurityContext()
        self._public: list[Provider] = []
        self._jwt: list[Provider] = []
        self._oauth2: list[Provider] = []
        self._acl: list[Provider] = []
        self._jwt_says: dict[str, Any] = {}
        self._oauth2_says: dict[str, Any] = {}
        self._others: list[tuple[Provider, str]] = []

    def keys_dir(self, path: str | PathLike[str]) -> "FlaskSecurity":
        """Trust every public key in this directory."""
        if self.key_store is not None:
            raise FlaskSecurityError("the key store is already defined")
        self.key_store = KeyStore(dir_path=path)
        return self

    def use_key(self, key_name: str, key_file: str | PathLike[str]) -> "FlaskSecurity":
        """Trust one more public key."""
        if self.key_store is None:
            self.key_store = KeyStore()
        self.key_store.add_key(key_name, key_file)
        return self

    def jwt(
        self, header: str = "Authorization", schema: str = "Bearer", algs: list[str] | None = None, **options: Any
    ) -> "FlaskSecurity":
        """Accept JWTs that a key of the store verifies. options: those of JWTProvider."""
        self._jwt = [JWTProvider(self._keys(), header=header, auth_schema=schema, algs=algs, **options)]
        self._jwt_says = options
        return self

    def oauth2(self, algs: list[str] | None = None, **options: Any) -> "FlaskSecurity":
        """Accept OAuth2 access tokens. options: those of OAuth2Provider; without other keys, those of the store."""
        store = None if options.get("keys") or options.get("introspector") else self._keys()
        self._oauth2 = [OAuth2Provider(store, algs, **options)]
        self._oauth2_says = options if store is not None else {}
        return self

    def acl(self, config: Any) -> "FlaskSecurity":
        """Refuse whoever no policy allows. config: as ACLProvider takes it."""
        self._acl = [ACLProvider(config)]
        return self

    def saml(self, config: Any = None) -> "FlaskSecurity":
        """Not offered. Raises: FlaskSecurityError."""
        raise FlaskSecurityError(
            "SAML is not offered: it signs browsers in, with redirects and sessions, and this chain admits callers of "
            "an API by their tokens; sign users in at the platform's identity provider and use jwt() or oauth2()"
        )

    def public_route(self, *patterns: str) -> "FlaskSecurity":
        """Admit every request whose whole path matches one of these regular expressions."""
        self._public.append(public_routes_provider(*patterns))
        return self

    static_files = public_route

    def add_provider(self, provider: Provider, position: str | None = "last") -> "FlaskSecurity":
        """Add a provider of one's own at one of POSITIONS."""
        place = _ALSO_CALLED.get(position, position) or "last"
        if place not in POSITIONS:
            raise FlaskSecurityError(
                f"position {position!r} is not one of {', '.join((*POSITIONS, *map(str, _ALSO_CALLED)))}"
            )
        self._others.append((provider, place))
        return self

    def build_chain(self) -> SecurityChain:
        """The chain: public routes, JWT, OAuth2, authenticated?, ACL, with one's own providers at their places."""
        if self.key_store is not None:
            self.key_store.verification_keys()  # also those that were added after the providers
        elif not self._oauth2:
            self._keys()
        self._refuse_loopholes()
        built_in = {
            "first": self._public,
            "after_public": self._jwt,
            "after_jwt": self._oauth2,
            "last": [is_authenticated_provider, *self._acl],
        }
        chain = SecurityChain(self._context)
        for place in POSITIONS:
            own = [provider for provider, at in self._others if at == place]
            for provider in [*own, *built_in.get(place, [])]:
                chain.provider(provider)
        return chain

    def build(self) -> Security:
        """The finished `Security`."""
        return Security(self.build_chain(), self._context)

    def _refuse_loopholes(self) -> None:
        """Both providers trust the same keys: what oauth2() demands of a token, jwt() must not let pass without it."""
        demands = ("issuer", "audience", "scopes")
        missing = [name for name in demands if self._oauth2_says.get(name) != self._jwt_says.get(name)]
        if self._jwt and self._oauth2 and any(self._oauth2_says.get(name) for name in missing):
            raise FlaskSecurityError(
                f"jwt() would admit the tokens that oauth2() refuses for their {', '.join(missing)}: "
                "leave jwt() out, give both the same issuer and audience, or demand scopes of routes"
            )

    def _keys(self) -> KeyStore:
        if self.key_store is None:
            raise FlaskSecurityError("there is no key store: call keys_dir() or use_key() first")
        return self.key_store
