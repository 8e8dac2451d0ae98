"""Cross-origin requests, only for those who ask for them: without origins the application is not wrapped at all."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from tensorhost.settings import Settings

_PREFLIGHT_MAX_AGE_S = 600


def wrap_cors(app: ASGIApp, settings: Settings) -> ASGIApp:
    """``app`` itself, or ``app`` answering preflights and naming the origins in ``settings.cors_origins``.

    Credentials (cookies) are never allowed: the API knows bearer tokens only, which a page sends by itself.
    """
    if not settings.cors_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=("GET", "POST", "HEAD", "OPTIONS"),
        allow_headers=(
            "Authorization",
            "Content-Encoding",
            "Content-Type",
            "Traceparent",
            "Tracestate",
            "X-Request-Id",
        ),
        expose_headers=("Retry-After", "X-Request-Id"),
        max_age=_PREFLIGHT_MAX_AGE_S,
    )
