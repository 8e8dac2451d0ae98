"""Who may use which route: every route of the application, with no token, a wrong one and the right one."""

import re

import pytest
from asgi_calls import app_of, call

TOKEN = "the-right-token"
OPEN = {
    ("GET", "/health"),
    ("GET", "/health/ready"),
    ("GET", "/health/live"),
    ("GET", "/readyz"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/models"),
    ("GET", "/models/one"),
    ("GET", "/models/one/versions/one"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("POST", "/predict"),
    ("POST", "/batch-predict"),
}
"""Routes for everybody. Any other must be guarded."""

GIVEN = {"none": {}, "wrong": {"Authorization": "Bearer wrong"}, "right": {"Authorization": f"Bearer {TOKEN}"}}


def every_route(app):
    """Method and an example path of each route, HEAD left out."""
    routes = [("POST", path) for path in app._inference]
    for route in app._routes:
        path = re.sub(r"\(\?P<\w+>[^)]*\)", "one", route.pattern.pattern).strip("^$").replace(r"\.", ".")
        assert route.pattern.fullmatch(path)
        routes += [(method, path) for method in route.methods if method != "HEAD"]
    return routes


def refusals(sent):
    return sent.status if sent.status in (401, 403) else None


async def test_every_route_is_open_or_guarded():
    routes = every_route(app_of())
    assert set(routes) > OPEN
    assert {route for route in routes if route not in OPEN} >= {
        ("POST", "/models/one/load"),
        ("POST", "/models/one/unload"),
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("given", GIVEN)
async def test_guarded_routes_want_the_token(host, given):
    app = app_of(host=host, admin_token=TOKEN)
    for method, path in every_route(app):
        sent = await call(app, method, path, b"{}", headers=GIVEN[given])
        expected = None if (method, path) in OPEN or given == "right" else 401
        assert refusals(sent) == expected, (method, path)


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize(("host", "token"), [("0.0.0.0", None), ("::", None), ("192.0.2.1", None), ("0.0.0.0", "")])
async def test_guarded_routes_are_off_beyond_this_machine_without_a_token(host, token, given):
    app = app_of(host=host, admin_token=token)
    for method, path in every_route(app):
        sent = await call(app, method, path, b"{}", headers=GIVEN[given])
        assert refusals(sent) == (None if (method, path) in OPEN else 403), (method, path)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
async def test_this_machine_needs_no_token(host):
    app = app_of(host=host)
    for method, path in every_route(app):
        assert refusals(await call(app, method, path, b"{}")) is None, (method, path)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8080", 404),
        ("http://127.0.0.1", 404),
        ("https://[::1]:3000", 404),
        ("https://allowed.example", 404),
        ("http://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("http://127.0.0.1@evil.example", 403),
        ("http://evil.example#localhost", 403),
        ("null", 403),
        ("http://[", 403),
        ("http://[::1", 403),
        ("http://2130706433", 403),
    ],
)
async def test_pages_of_other_origins_may_not_control(origin, status):
    app = app_of(cors_origins="https://allowed.example")
    for action in ("load", "unload"):
        assert (await call(app, "POST", f"/models/one/{action}", b"{}", headers={"Origin": origin})).status == status


@pytest.mark.parametrize(
    "header",
    [
        "CF-Connecting-IP",
        "Forwarded",
        "True-Client-IP",
        "Via",
        "X-Client-IP",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Proto",
        "X-Forwarded-Server",
        "X-Real-IP",
    ],
)
async def test_what_a_proxy_passes_on_needs_the_token(header):
    for action, body in {"load": b"{}", "unload": b"{}", "labels": b'{"label": "l"}'}.items():
        passed_on = {header: "203.0.113.7"}
        path = f"/models/one/{action}"
        assert (await call(app_of(), "POST", path, body, headers=passed_on)).status == 403
        allowed = passed_on | {"Authorization": f"Bearer {TOKEN}"}
        assert (await call(app_of(admin_token=TOKEN), "POST", path, body, headers=allowed)).status == 404


async def test_the_token_is_for_pages_too():
    app = app_of(admin_token=TOKEN)
    headers = {"Origin": "http://evil.example", "Authorization": f"Bearer {TOKEN}"}
    assert (await call(app, "POST", "/models/one/load", headers=headers)).status == 404


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"]
)
async def test_what_is_not_the_token(given):
    sent = await call(app_of(admin_token=TOKEN), "POST", "/models/one/load", headers={"Authorization": given})
    assert sent.status == 401
    assert sent.headers[b"www-authenticate"] == b"Bearer"


@pytest.mark.parametrize("given", [f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
async def test_the_scheme_has_no_case(given):
    sent = await call(app_of(admin_token=TOKEN), "POST", "/models/one/load", headers={"Authorization": given})
    assert sent.status == 404


async def test_a_version_that_is_no_name_is_refused_under_its_own_name():
    sent = await call(app_of(), "POST", "/models/one/unload", b'{"version": "a b"}')
    assert (sent.status, sent.json["error"]["details"]["field"]) == (400, "version")
