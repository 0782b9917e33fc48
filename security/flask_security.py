"""The security chain in a Flask application. The only module here that knows Flask."""

import json
from collections.abc import Callable, Iterable
from functools import wraps
from os import PathLike
from typing import Any, TypeVar

from flask import Response as FlaskResponse
from flask import g, make_response, request

from security.chain import Provider, SecurityChain, is_authenticated_provider, public_routes_provider
from security.context import SecurityContext
from security.errors import InsufficientScope, NotAuthenticated, SecurityException
from security.exchange import Request, Response
from security.jwt_provider import JWTProvider
from security.key_store import KeyStore
from security.problem import MEDIA_TYPE, problem

View = TypeVar("View", bound=Callable[..., Any])

# Where a provider of one's own may stand; the built-in ones lie between these.
POSITIONS = ("first", "after_public", "after_jwt", "last", "final")
_SAME_PLACE = {"before_jwt": "after_public"}


class FlaskSecurityError(Exception):
    """The security of a Flask application was put together wrongly."""


class FlaskSecurityContext(SecurityContext):
    """An identity for each request, in Flask's `g`."""

    def __init__(self) -> None:
        super().__init__(g)


class Security:
    """A chain that is ready to guard views."""

    def __init__(self, security_chain: SecurityChain, context: SecurityContext) -> None:
        self.security_chain = security_chain
        self.context = context

    def check(self, scopes: Iterable[str] = ()) -> tuple[bool, FlaskResponse | None]:
        """Ask the chain about the request at hand. scopes: what the identity must have been granted.

        Returns: (whether the view may run, the reply to give instead of the view's, if any).
        """
        response = Response()
        try:
            self.security_chain.execute(Request(request), response)
            self._check_scopes(scopes)
        except SecurityException as err:
            refusal = make_response(json.dumps(problem(err.status_code, str(err))), err.status_code)
            refusal.content_type = MEDIA_TYPE
            refusal.headers.update(err.headers)
            return False, refusal
        if response.modified:
            reply = make_response(response.get_response_body(), response.status_code)
            reply.headers.update(response.headers)
            return True, reply
        return True, None

    def _check_scopes(self, scopes: Iterable[str]) -> None:
        needed = list(scopes)
        if not needed:
            return
        auth = self.context.get_auth()
        if auth is None:
            raise NotAuthenticated()
        if not auth.has_scopes(needed):
            raise InsufficientScope(" ".join(needed))

    def secured(self, view: View | None = None, *, scopes: Iterable[str] = ()) -> Any:
        """Guard a view: `@sec.secured` below `@app.route`, or `@sec.secured(scopes=["api:write"])`."""
        if view is None:
            return lambda view: self.secured(view, scopes=scopes)
        needed = tuple(scopes)

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            _, reply = self.check(needed)
            return view(*args, **kwargs) if reply is None else reply

        return guarded


class FlaskSecurity:
    """Builds a `Security`: `FlaskSecurity().keys_dir("./keys").jwt().build()`."""

    def __init__(self, context: SecurityContext | None = None, key_store: KeyStore | None = None) -> None:
        self.key_store = key_store
        self._context = context or FlaskSecurityContext()
        self._public: list[Provider] = []
        self._jwt: Provider | None = None
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
        self, header: str = "Authorization", schema: str = "Bearer", algs: list[str] | None = None
    ) -> "FlaskSecurity":
        """Accept JWTs that a key of the store verifies."""
        self._jwt = JWTProvider(self._keys(), header=header, auth_schema=schema, algs=algs)
        return self

    def public_route(self, *patterns: str) -> "FlaskSecurity":
        """Admit every request whose whole path matches one of these regular expressions."""
        self._public.append(public_routes_provider(*patterns))
        return self

    static_files = public_route

    def add_provider(self, provider: Provider, position: str = "last") -> "FlaskSecurity":
        """Add a provider of one's own at one of POSITIONS."""
        place = _SAME_PLACE.get(position, position)
        if place not in POSITIONS:
            raise FlaskSecurityError(f"position {position!r} is not one of {', '.join((*POSITIONS, *_SAME_PLACE))}")
        self._others.append((provider, place))
        return self

    def build_chain(self) -> SecurityChain:
        """The chain: public routes, JWT, authenticated?, with one's own providers at their places."""
        self._keys()
        built_in: dict[str, list[Provider]] = {
            "first": self._public,
            "after_public": [self._jwt] if self._jwt else [],
            "last": [is_authenticated_provider],
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

    def _keys(self) -> KeyStore:
        if self.key_store is None:
            raise FlaskSecurityError("there is no key store: call keys_dir() or use_key() first")
        return self.key_store
