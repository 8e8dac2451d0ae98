"""Who may control the server, over whichever protocol: one rule for all.

With an admin token, whoever presents it. Without one, callers on this machine only, and neither what a proxy passes on
from elsewhere nor what a page of another site has a visitor's browser send.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from tensorhost.core.errors import PermissionDeniedError, UnauthenticatedError
from tensorhost.frontends.rpc import RpcContext
from tensorhost.settings import LOOPBACK_HOSTS, Settings

_BEARER = "bearer "
_OF_PROXIES = frozenset(
    {
        "cf-connecting-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-real-ip",
    }
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as a protocol can tell.

    Attributes:
        authorization: the header or metadata of that name.
        header_names: names of all headers, in lower case.
        origin: the header of that name; empty for callers that are no web page.
        local: whether only this machine can reach the server where this call came in.
    """

    authorization: str
    header_names: Collection[str]
    origin: str
    local: bool


def authorise_control(settings: Settings, caller: Caller) -> None:
    """Return when ``caller`` may control the server.

    Raises:
        UnauthenticatedError: the admin token is set, and another or none was given.
        PermissionDeniedError: there is none, and the call may come from elsewhere.
    """
    token = _token(settings)
    if token:
        _check_token(token, caller.authorization)
        return
    if not caller.local:
        raise PermissionDeniedError(
            "Control routes are off: the server listens beyond this machine and TENSORHOST_ADMIN_TOKEN is not set."
        )
    # A proxy on this machine speaks for others, who may be anywhere; what it adds gives it away.
    if not _OF_PROXIES.isdisjoint(caller.header_names):
        raise PermissionDeniedError("Control routes need a token behind a proxy: set TENSORHOST_ADMIN_TOKEN.")
    _refuse_foreign_pages(settings, caller.origin)


def authorise_http(settings: Settings, headers: Mapping[bytes, bytes]) -> None:
    """``authorise_control`` for an HTTP request; ``headers`` by lower-case name. Raises as that does."""
    caller = Caller(
        # As UTF-8, which a token may be; other bytes stay what they are, and wrong.
        authorization=headers.get(b"authorization", b"").decode("utf-8", "surrogateescape"),
        header_names={name.decode("latin-1") for name in headers},
        origin=headers.get(b"origin", b"").decode("latin-1"),
        local=settings.bound_to_loopback,
    )
    authorise_control(settings, caller)


def authorise_rpc(settings: Settings, context: RpcContext) -> None:
    """``authorise_control`` for a gRPC call; where the setting ``open_control`` says so, everybody may without a token.

    Raises as that does.
    """
    if control_is_open(settings):
        return
    metadata = context.metadata
    local = settings.bound_to_loopback or context.peer.startswith("unix:")
    caller = Caller(_text(metadata.get("authorization")), metadata.keys(), _text(metadata.get("origin")), local)
    authorise_control(settings, caller)


def control_is_open(settings: Settings) -> bool:
    """Whether the operator lets everybody control the server by the calls for which ``open_control`` says so."""
    return settings.open_control and not _token(settings)


def _token(settings: Settings) -> str:
    # An empty variable, as from an unset one in a deployment file, is no token: it must not open anything.
    return "" if settings.admin_token is None else settings.admin_token.get_secret_value()


def _check_token(token: str, authorization: str) -> None:
    if authorization[: len(_BEARER)].lower() != _BEARER:
        raise UnauthenticatedError("This route needs the admin token: Authorization: Bearer <token>.")
    given = authorization[len(_BEARER) :].strip()
    if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode()):
        raise UnauthenticatedError("The admin token is wrong.")


def _refuse_foreign_pages(settings: Settings, origin: str) -> None:
    # A page on another site can make its visitor's browser post to localhost. Browsers name the page's origin;
    # the Host header is no proof, since a name of the attacker's may point to this machine.
    if not origin or origin in settings.cors_origins:
        return
    if _hostname(origin) not in LOOPBACK_HOSTS:
        raise PermissionDeniedError("Pages of other origins may not use the control routes.")


def _hostname(origin: str) -> str | None:
    try:
        return urlsplit(origin).hostname
    except ValueError:
        return None


def _text(value: str | bytes | None) -> str:
    return value if isinstance(value, str) else ""
