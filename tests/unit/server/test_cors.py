from starlette.testclient import TestClient

from tensorhost.server.cors import wrap_cors
from tensorhost.settings import Settings


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", b"1")]})
    await send({"type": "http.response.body", "body": b"ok"})


def client(*origins):
    return TestClient(wrap_cors(app, Settings(cors_origins=origins)))


def preflight(http, origin, headers="content-type"):
    wish = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers}
    return http.options("/predict", headers=wish)


def test_without_origins_the_application_is_not_wrapped():
    assert wrap_cors(app, Settings()) is app


def test_a_preflight_from_an_allowed_origin_is_answered():
    answer = preflight(
        client("https://a.example"),
        "https://a.example",
        "authorization, content-type, traceparent, tracestate, x-request-id",
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers


def test_a_preflight_from_elsewhere_or_with_other_headers_is_refused():
    assert preflight(client("https://a.example"), "https://b.example").status_code == 400
    assert preflight(client("https://a.example"), "https://a.example", "x-other").status_code == 400


def test_answers_name_the_origin_only_when_it_is_allowed():
    http = client("https://a.example")
    allowed = http.get("/", headers={"Origin": "https://a.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://a.example"
    assert "X-Request-Id" in allowed.headers["access-control-expose-headers"]
    other = http.get("/", headers={"Origin": "https://b.example"})
    assert "access-control-allow-origin" not in other.headers


def test_any_origin():
    assert client("*").get("/", headers={"Origin": "https://x"}).headers["access-control-allow-origin"] == "*"


async def test_an_answer_in_one_message_names_the_origin_and_keeps_its_body():
    async def answers_whole(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [], "body": b"ok"})

    sent = []

    async def keep(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": [(b"origin", b"https://a.example")]}
    await wrap_cors(answers_whole, Settings(cors_origins=("https://a.example",)))(scope, None, keep)
    assert [message["body"] for message in sent] == [b"ok"]
    assert (b"access-control-allow-origin", b"https://a.example") in sent[0]["headers"]
