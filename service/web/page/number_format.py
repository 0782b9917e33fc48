"""The choice of how amounts are written, which the browser keeps."""

from flask import Blueprint, Response, redirect, request

from service.web.access import public
from service.web.page.amounts import find_locale
from service.web.page.context import LOCALE_COOKIE
from service.web.page.headers import secure
from service.web.page.paths import NUMBERS, PAGE, safe_place

_KEPT_S = 365 * 86_400


def add_number_format_route(routes: Blueprint) -> None:
    """Add the route to the page's blueprint."""

    @routes.post(NUMBERS)
    @public
    def choose_numbers() -> Response:
        # Another site could send this form, too. It changes nothing but separators.
        target = f"{request.script_root}{safe_place(request.form.get('next', ''))}"
        response: Response = redirect(target, 303)  # type: ignore[assignment]
        path = f"{request.script_root}{PAGE}"
        chosen = find_locale(request.form.get("locale", ""))
        if chosen:
            response.set_cookie(LOCALE_COOKIE, chosen, max_age=_KEPT_S, path=path, secure=request.is_secure,
                                httponly=True, samesite="Lax")  # fmt: skip
        else:
            response.delete_cookie(LOCALE_COOKIE, path=path, secure=request.is_secure, httponly=True, samesite="Lax")
        return secure(response)
