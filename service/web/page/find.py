"""The start of the page: finding a loan."""

from flask import Blueprint, Response

from security.context import SecurityContext
from service.web.page.context import page_context
from service.web.page.paths import PAGE
from service.web.page.rendering import render


def add_find_routes(routes: Blueprint, security: SecurityContext) -> None:
    """Add the routes to the page's blueprint."""

    @routes.get(PAGE, strict_slashes=False)
    def find() -> Response:
        return render("find.html", page_context(security))
