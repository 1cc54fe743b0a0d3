"""What every request has to pass, and what every answer says to the browser."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from controller.dashboard.access import Tokens, is_own_host, is_own_origin
from quantum.roles import Role

__all__ = ["cookie_of", "guard", "role_of"]

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_COOKIE = "dpem-dashboard"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guard(tokens: Tokens) -> Any:
    """Return a middleware that admits who holds a token, and no page of another site."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            answer = await _admit(tokens, request, handler)
        except web.HTTPException as refused:
            refused.headers.update(_HEADERS)
            raise
        if not answer.prepared:
            answer.headers.update(_HEADERS)
        return answer

    return middleware


async def _admit(tokens: Tokens, request: web.Request, handler: Handler) -> web.StreamResponse:
    if not is_own_host(request.host):
        raise web.HTTPMisdirectedRequest(text="this server is asked for by its address only\n")
    if not is_own_origin(request.headers.get("Origin"), request.host):
        raise web.HTTPForbidden(text="requests of other sites are refused\n")
    if role_of(tokens, request) is None:
        raise web.HTTPUnauthorized(
            text="open the address that dpem dashboard printed: it holds a token\n"
        )
    return await handler(request)


def role_of(tokens: Tokens, request: web.Request) -> Role | None:
    """Return what the token of a request is for, None where it has none of ours."""
    return tokens.role_of(_token(request))


def _token(request: web.Request) -> str:
    """Return the token of a request: in the address, in a header, or in the cookie."""
    if request.path == "/" and "token" in request.query:
        return request.query["token"]
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    return given if kind.lower() == "bearer" else request.cookies.get(cookie_of(request), "")


def cookie_of(request: web.Request) -> str:
    """Return the name of the cookie that holds the token."""
    # Cookies do not tell ports apart, servers on one machine do.
    return f"{_COOKIE}-{request.url.port}"
