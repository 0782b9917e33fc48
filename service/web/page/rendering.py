"""Renders the templates of the page."""

from typing import Any

from flask import Flask, Response, current_app

from service.web.page.context import PageContext
from service.web.page.headers import secure


def render(template: str, page: PageContext, status: int = 200, **members: Any) -> Response:
    """Return a view of the current request.

    Args:
        template: The name of the template below `templates/page`.
        page: The context of the request.
        status: The HTTP status.
        **members: Further variables of the template.
    """
    return secure(_render(current_app, template, page, status, **members))


def render_outside(app: Flask, template: str, page: PageContext, status: int, **members: Any) -> Response:
    """Return a view like `render`, for a request that the application has not seen."""
    return secure(_render(app, template, page, status, **members), "no-referrer")


def _render(app: Flask, template: str, page: PageContext, status: int, **members: Any) -> Response:
    text = app.jinja_env.get_template(f"page/{template}").render(page=page, **members)
    return Response(text, status, content_type="text/html; charset=utf-8")
