"""The style sheet, the scripts and the pictures of the page. Their addresses change with their content."""

from flask import Blueprint, Response, send_from_directory
from pydantic import Field
from werkzeug.exceptions import NotFound

from service.web.access import public
from service.web.page.context import FILES, file_digest
from service.web.page.paths import STATIC
from service.web.page.query import PageQuery, parses_query

_NAMES = frozenset(file.relative_to(FILES).as_posix() for file in FILES.rglob("*") if file.is_file())


class StaticQuery(PageQuery):
    """Query parameters of a file."""

    v: str | None = Field(None, description="The digest of the file's content.")


def add_static_route(routes: Blueprint) -> None:
    """Add the route to the page's blueprint."""

    @routes.get(f"{STATIC}/<path:filename>")
    @public
    @parses_query
    def static(filename: str, query: StaticQuery) -> Response:
        if filename not in _NAMES:  # another spelling of a path would be a file, too
            raise NotFound
        response = send_from_directory(FILES, filename)
        is_current = query.v is not None and query.v == file_digest(filename)
        kept = "public, max-age=31536000, immutable" if is_current else "no-cache"
        response.headers["Cache-Control"] = kept
        return response
