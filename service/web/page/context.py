"""What every template knows about the current request: links, the caller, and how amounts are written."""

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from urllib.parse import urlencode

from flask import request
from markupsafe import Markup

from security.context import SecurityContext
from service import __version__
from service.web.page import amounts
from service.web.page.paths import PAGE, STATIC
from service.web.page.token_cookie import read_token

FILES = Path(__file__).parent.parent / "static" / "page"
LOCALE_COOKIE = "loaner-numbers"
MAX_LANGUAGES = 10  # that a browser prefers


@dataclass(frozen=True)
class PageContext:
    """The variable `page` of every template.

    Attributes:
        root: The gateway's prefix; empty without one.
        url: The scheme, the host and the prefix of this service, as the browser sees them.
        here: The path and query of this view, without the prefix: where a sign-in leads back to.
        preferred: The language tag of the browser.
        chosen: The language tag that the person has chosen for amounts; empty for that of the browser.
        caller: Who is signed in; empty without a sign-in.
        is_signed_in: Whether the browser has sent a token.
        version: The version of the service.
    """

    root: str = ""
    url: str = ""
    here: str = PAGE
    preferred: str = amounts.DEFAULT
    chosen: str = ""
    caller: str = ""
    is_signed_in: bool = False
    version: str = __version__

    @property
    def locale(self) -> str:
        """The language tag of the amounts."""
        return self.chosen or self.preferred

    def link(self, path: str = "", **query: object) -> str:
        """Return the address of a view.

        Args:
            path: The path after `/app`, such as `/loan/1`.
            **query: The query's parameters. Those that are None or empty are left out. A trailing underscore of a
                name is dropped, as in `from_`.
        """
        given = {name.removesuffix("_"): value for name, value in query.items() if value not in (None, "")}
        return f"{self.root}{PAGE}{path}{f'?{urlencode(given)}' if given else ''}"

    def asset(self, name: str) -> str:
        """Return the address of a file that belongs to the page. It changes with the file's content."""
        return f"{self.root}{STATIC}/{name}?v={file_digest(name)}"

    def api(self, path: str, **query: object) -> str:
        """Return the full address of a route of the API, for programs. Parameters are as for `link`."""
        given = {name.removesuffix("_"): value for name, value in query.items() if value not in (None, "")}
        return f"{self.url}{path}{f'?{urlencode(given)}' if given else ''}"

    def amount(self, minor: int, digits: int) -> Markup:
        """Return an amount as HTML, with the separators of the person's locale. It is copied as a plain number."""
        return amounts.mark_up(minor, digits, self.locale)

    def number_formats(self) -> list[tuple[str, str, str]]:
        """Return the locales to choose from, each as its tag, its name and an amount in it."""
        return [(tag, amounts.name(tag), amounts.example(tag)) for tag in amounts.LOCALES]

    def number_example(self) -> str:
        """Return an amount as the browser's language has it."""
        return amounts.example(self.preferred)


@cache
def file_digest(name: str) -> str:
    """Return a digest of the content of a file of the page."""
    return blake2b((FILES / name).read_bytes(), digest_size=6).hexdigest()


def page_context(security: SecurityContext | None = None) -> PageContext:
    """Return the context of the current request.

    Args:
        security: Knows who has been authenticated; None if the view needs no identity.
    """
    auth = security.get_auth() if security is not None else None
    chosen = amounts.find_locale(request.cookies.get(LOCALE_COOKIE, "")) or ""
    query = request.query_string.decode("ascii", "replace")
    return PageContext(
        root=request.script_root,
        url=request.root_url.rstrip("/"),
        here=f"{request.path}?{query}" if query else request.path,
        preferred=_preferred_locale(),
        chosen=chosen,
        caller=(auth.username or auth.user_id) if auth is not None else "",
        is_signed_in=read_token(request) is not None,
    )


def _preferred_locale() -> str:
    found = (amounts.find_locale(tag) for tag in islice(request.accept_languages.values(), MAX_LANGUAGES))
    return next(filter(None, found), amounts.DEFAULT)
