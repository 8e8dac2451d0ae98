import itertools
import socket
from concurrent import futures

import grpc
import pytest
from benchmarks.asking import NoAnswerError, asking_grpc
from benchmarks.grpc_generator import GrpcGenerator
from benchmarks.grpc_load import Connection, ServerGaveUpError, run
from benchmarks.load import LoadFailedError
from benchmarks.protocols import Protocol

LARGE = bytes(range(256)) * 2500  # 640,000 bytes: ten windows
PATH = "/a.Service/Method"
TURNS = itertools.cycle([b"one", b"other"])


def method(request, context):
    if request == b"refuse":
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")
    if request == b"early":
        context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
    if request == b"turns":
        return next(TURNS)
    return b"%d bytes, %d different" % (len(request), len(set(request)))


@pytest.fixture(scope="module")
def port():
    handler = grpc.method_handlers_generic_handler("a.Service", {"Method": grpc.unary_unary_rpc_method_handler(method)})
    with futures.ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, [handler])
        number = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield number
        server.stop(None).wait()


@pytest.fixture
def connect(port):
    opened = []

    def connection(body):
        opened.append(Connection("127.0.0.1", port, PATH, body))
        return opened[-1]

    yield connection
    for one in opened:
        one.close()


@pytest.mark.parametrize(
    ("body", "answer"), [(b"abc", b"3 bytes, 3 different"), (LARGE, b"640000 bytes, 256 different")]
)
def test_every_call_of_any_size_is_answered(connect, body, answer):
    connections = [connect(body), connect(body)]
    figures = run(connections, 7, 0)
    assert (figures["calls"], figures["failed"]) == (7, 0)
    assert {one for connection in connections for one in connection.answers} == {
        b"\0\0\0\0" + bytes([len(answer)]) + answer
    }
    assert [len(connection.latencies) for connection in connections] == [4, 3]
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert figures["generator_us_per_request"] > 0


def test_calls_go_on_until_the_time_is_up(connect):
    assert run([connect(b"abc")], 2, 0.05)["calls"] > 2


def test_calls_that_are_refused_are_counted(connect):
    figures = run([connect(b"refuse")], 3, 0)
    assert (figures["calls"], figures["failed"], figures["answers"]) == (3, 3, [])


def test_a_server_that_hangs_up_ends_the_run():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(*listener.getsockname(), PATH, b"abc")
        listener.accept()[0].close()
        with pytest.raises((ServerGaveUpError, ConnectionError)):
            run([connection], 1, 0)
        connection.close()


@pytest.fixture
def generate(port, tmp_path):
    def generator(body, seconds=0.0, path=PATH):
        (tmp_path / "body").write_bytes(body)
        return GrpcGenerator(port, path, tmp_path / "body", 4, seconds)

    return generator


def test_a_run_has_its_figures_and_every_different_answer_is_judged(generate):
    judged = []
    with generate(b"turns") as generator:
        figures = generator.run(lambda answer: bool(judged.append(answer)) or True)
    assert sorted(judged) == [b"one", b"other"]
    assert figures.keys() == {"requests_s", "p50_ms", "p99_ms", "generator_cores", "generator_us_per_request"}


@pytest.mark.parametrize(
    ("body", "path", "complaint"),
    [
        (b"abc", PATH, "is not the right one"),
        (b"refuse", PATH, "4 of 4 calls failed"),
        (b"abc", "/a.Service/Other", "4 of 4 calls failed"),
    ],
)
def test_a_wrong_or_missing_answer_makes_a_run_worthless(generate, body, path, complaint):
    with generate(body, path=path) as generator, pytest.raises(LoadFailedError, match=complaint):
        generator.run(lambda answer: answer == b"something else")


def test_a_server_that_is_not_there_makes_a_run_worthless(tmp_path):
    (tmp_path / "body").write_bytes(b"")
    with GrpcGenerator(1, PATH, tmp_path / "body", 1, 0) as generator, pytest.raises(LoadFailedError, match="refused"):
        generator.run(lambda _: True)


def test_a_server_that_never_answers_makes_a_run_worthless(monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.grpc_generator._GRACE_S", 0)
    (tmp_path / "body").write_bytes(b"")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        GrpcGenerator(listener.getsockname()[1], PATH, tmp_path / "body", 1, 0) as generator,
        pytest.raises(LoadFailedError, match="leaves calls unanswered"),
    ):
        generator.run(lambda _: True)


def ask(port, body):
    protocol = Protocol(PATH, lambda _: body, bytes, is_grpc=True)
    with asking_grpc(f"127.0.0.1:{port}", protocol, body, 30) as asking:
        return asking()


def test_one_question_over_grpc_is_answered_as_any_client_would_be(port):
    assert ask(port, LARGE) == b"640000 bytes, 256 different"


@pytest.mark.parametrize(
    ("body", "is_early", "said"),
    [(b"early", True, "UNAVAILABLE: not yet"), (b"refuse", False, "RESOURCE_EXHAUSTED: no more")],
)
def test_a_question_that_is_not_answered_says_so_and_whether_to_ask_again(port, body, is_early, said):
    with pytest.raises(NoAnswerError, match=said) as caught:
        ask(port, body)
    assert caught.value.is_early is is_early
