"""Batches and streams of items: order, laziness, bounds, errors at their places, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import io
import itertools
import sys
import threading
from contextlib import aclosing

import numpy as np
import pytest
from scripted_server import Held, compute, refusal, reply, reset

from tensorhost.client import (
    AsyncClient,
    Client,
    ClientError,
    InvalidAnswerError,
    InvalidInputTypeError,
    InvalidRequestError,
    Item,
    ModelNotFoundError,
    OverloadedError,
    Prediction,
    ServerUnreachableError,
    streams,
)
from tensorhost.client.streams import Chunker

BUSY = {"error": {"code": "OVERLOADED", "message": "Full.", "details": {}, "requestId": "r2"}}
BAD = {"error": {"code": "INVALID_INPUT_TYPE", "message": "Bad.", "details": {}, "requestId": "r3"}}


def result(item):
    """What the server makes of an item: its inputs come back; a text is a bad item."""
    bad = isinstance(item["inputs"], str)
    return BAD if bad else {"predictions": item["inputs"], "modelName": "m", "modelVersion": "1"}


def results(asked):
    return {"results": [result(item) for item in asked.body["batch"]], "modelVersion": "1"}


@pytest.fixture
def echo(server):
    server.otherwise = compute(results)
    return server


def values(predictions):
    return [one.code if isinstance(one, ClientError) else one.answer["predictions"][0] for one in predictions]


class TestBatch:
    def test_one_request_has_it_all(self, echo, client):
        items = [[1], np.array([2]), Item([3], {"scale": 2.0}, {"topK": 1}), {"a": [4]}]
        client.batch_predict(
            "m", items[:3], version="v", signature="s", postprocessing={"round": 1}, max_batch_size=8, timeout_ms=20_000
        )
        (asked,) = echo.asked
        assert (asked.method, asked.path) == ("POST", "/batch-predict")
        assert 0 < asked.body.pop("timeoutMs") <= 20_000
        assert asked.body == {
            "modelName": "m",
            "modelVersion": "v",
            "signatureName": "s",
            "maxBatchSize": 8,
            "batch": [
                {"inputs": [1], "postprocessing": {"round": 1}},
                {"inputs": [2], "postprocessing": {"round": 1}},
                {"inputs": [3], "preprocessing": {"scale": 2.0}, "postprocessing": {"topK": 1}},
            ],
        }

    def test_results_are_in_order(self, echo, client):
        assert values(client.batch_predict("m", ([n] for n in range(5)))) == [0, 1, 2, 3, 4]

    def test_nothing_is_asked_for_nothing(self, echo, client):
        assert client.batch_predict("m", []) == []
        assert echo.asked == []

    def test_the_first_items_error_is_raised(self, echo, client):
        with pytest.raises(InvalidInputTypeError, match="Bad") as caught:
            client.batch_predict("m", [[1], "bad", [np.nan]])
        assert (caught.value.http_status, caught.value.request_id) == (200, "r3")

    def test_or_returned_at_its_place(self, echo, client, tmp_path):
        items = [[1], "bad", np.array([np.nan]), [2], [tmp_path / "missing.png"]]
        answered = client.batch_predict("m", items, errors="return")
        assert values(answered) == [1, "INVALID_INPUT_TYPE", "INVALID_INPUT_TYPE", 2, "INVALID_REQUEST"]
        assert [len(asked.body["batch"]) for asked in echo.asked] == [3]

    def test_what_concerns_the_request_is_raised_either_way(self, server, client):
        for errors in ("raise", "return"):
            server.will(refusal("MODEL_NOT_FOUND", 404))
            with pytest.raises(ModelNotFoundError):
                client.batch_predict("m", [[1]], errors=errors)

    def test_only_items_that_may_yet_succeed_are_asked_again(self, echo, client, naps):
        echo.will(
            reply({"results": [result({"inputs": [1]}), BUSY, BAD, BUSY]}),
            reply({"results": [BUSY, result({"inputs": [4]})]}),
        )
        answered = client.batch_predict("m", [[1], [2], [3], [4]], errors="return")
        assert values(answered) == [1, 2, "INVALID_INPUT_TYPE", 4]
        assert [[item["inputs"] for item in asked.body["batch"]] for asked in echo.asked] == [
            [[1], [2], [3], [4]],
            [[2], [4]],
            [[2]],
        ]
        assert naps == [0.1, 0.2]

    def test_no_answer_is_lost_when_the_server_goes_away_meanwhile(self, server, make, naps):
        server.will(reply({"results": [result({"inputs": [1]}), BUSY]}), reset, reset, reset)
        answered = make(server.url).batch_predict("m", [[1], [2]], errors="return")
        assert values(answered) == [1, "OVERLOADED"]
        assert len(naps) == 3

    def test_all_items_refused_to_the_end_are_errors_of_theirs(self, server, client, naps):
        server.otherwise = reply({"results": [BUSY, BUSY]})
        answered = client.batch_predict("m", [[1], [2]], errors="return")
        assert [type(one) for one in answered] == [OverloadedError] * 2
        assert len(server.asked) == 4

    @pytest.mark.parametrize("answer", [{"results": [{"predictions": [1]}]}, {"results": "x"}, {}])
    def test_a_wrong_number_of_results_is_no_answer(self, server, client, answer):
        server.will(reply(answer))
        with pytest.raises(InvalidAnswerError):
            client.batch_predict("m", [[1], [2]])


class TestStream:
    @pytest.mark.parametrize(("chunk_size", "concurrency"), [(1, 1), (1, 3), (4, 2), (100, 5)])
    def test_results_are_in_order(self, echo, client, chunk_size, concurrency):
        many = client.predict_many("m", ([n] for n in range(23)), chunk_size=chunk_size, concurrency=concurrency)
        assert values(many) == list(range(23))
        assert sum(len(asked.body["batch"]) for asked in echo.asked) == 23
        assert len(echo.asked) == -(-23 // chunk_size)

    def test_nothing_is_asked_for_nothing(self, echo, client):
        assert list(client.predict_many("m", [])) == []
        assert echo.asked == []

    def test_options_are_passed_on(self, echo, client):
        list(client.predict_many("m", [[1]], version="v", signature="s", preprocessing={"scale": 2}, timeout_ms=20_000))
        body = echo.asked[0].body
        assert (body["modelVersion"], body["signatureName"]) == ("v", "s")
        assert body["batch"] == [{"inputs": [1], "preprocessing": {"scale": 2}}]
        assert 0 < body["timeoutMs"] <= 20_000

    def test_an_endless_iterable_is_taken_as_results_are(self, echo, client):
        taken = []
        many = client.predict_many(
            "m", ([taken.append(n) or n] for n in itertools.count()), chunk_size=3, concurrency=2
        )
        for n in range(50):
            assert values([next(many)]) == [n]
            assert len(taken) <= n + 1 + 4 * 3
        many.close()

    def test_nothing_is_taken_before_the_first_result_is_wanted(self, echo, client):
        taken = []
        many = client.predict_many("m", (taken.append(n) or [n] for n in range(3)))
        assert taken == []
        many.close()
        assert echo.asked == []

    def test_errors_are_raised_in_their_turn(self, echo, client):
        many = client.predict_many("m", [[0], [1], "bad", [3]], chunk_size=2)
        assert values([next(many), next(many)]) == [0, 1]
        with pytest.raises(InvalidInputTypeError):
            next(many)
        assert list(many) == []

    def test_or_given_back_at_their_places(self, echo, client, tmp_path):
        items = [[0], tmp_path, "bad", [3], np.array([1j])]
        answered = values(client.predict_many("m", items, chunk_size=2, errors="return"))
        assert answered == [0, "INVALID_REQUEST", "INVALID_INPUT_TYPE", 3, "INVALID_INPUT_TYPE"]

    def test_a_request_that_fails_is_the_error_of_each_of_its_items(self, echo, client):
        echo.will(refusal("MODEL_FAILED", 500))
        items = [[0], np.array([np.nan]), [2], [3]]
        answered = list(client.predict_many("m", items, chunk_size=3, concurrency=1, errors="return"))
        assert values(answered) == ["MODEL_FAILED", "INVALID_INPUT_TYPE", "MODEL_FAILED", 3]

    def test_what_passes_is_made_again(self, echo, client, naps):
        echo.will(refusal("OVERLOADED", 503), reply({"results": [BUSY, result({"inputs": [1]})]}))
        assert values(client.predict_many("m", [[0], [1]])) == [0, 1]
        assert naps == [0.1, 0.2]

    def test_a_server_that_is_not_there(self, make, closed_url, naps):
        many = make(closed_url).predict_many("m", [[0], [1]], errors="return")
        assert [type(one) for one in many] == [ServerUnreachableError] * 2

    def test_what_the_iterable_raises_comes_after_the_results_before_it(self, echo, client):
        def items():
            yield from ([n] for n in range(5))
            raise KeyError("gone")

        many = client.predict_many("m", items(), chunk_size=2)
        assert values(itertools.islice(many, 5)) == [0, 1, 2, 3, 4]
        with pytest.raises(KeyError):
            next(many)

    def test_an_item_that_is_too_large_for_a_shared_request_has_its_own(self, echo, client, monkeypatch):
        monkeypatch.setattr(streams, "CHUNK_BYTES", 100)
        items = [[1], [2], ["x" * 200], [3]]
        list(client.predict_many("m", items, errors="return", concurrency=1))
        assert [len(asked.body["batch"]) for asked in echo.asked] == [2, 1, 1]

    @pytest.mark.parametrize("options", [{"chunk_size": 0}, {"concurrency": 0}, {"errors": "ignore"}])
    def test_nonsense_is_refused_at_the_call(self, client, options):
        with pytest.raises(ValueError, match="must be"):
            client.predict_many("m", [[1]], **options)

    def test_a_bad_timeout_is_an_error_of_each_item(self, server, client):
        with pytest.raises(InvalidRequestError, match="timeout_ms"):
            list(client.predict_many("m", [[1]], timeout_ms=-1))

    def test_leaving_early_leaves_nothing_running(self, echo, client):
        many = client.predict_many("m", ([n] for n in itertools.count()), chunk_size=1, concurrency=4)
        next(many)
        many.close()
        before = len(echo.asked)
        assert not any(thread.name.startswith("predict-many") for thread in threading.enumerate())
        assert len(echo.asked) == before


def test_chunks_are_bounded_by_number_and_bytes(monkeypatch):
    monkeypatch.setattr(streams, "CHUNK_BYTES", 10)
    chunker = Chunker(3)
    given = [b"1", b"2", b"3", b"x" * 9, b"yy", b"z" * 20, ClientError("no"), b"4"]
    chunks = [chunk for item in given for chunk in chunker.add(item)] + list(chunker.rest())
    assert [len(chunk) for chunk in chunks] == [3, 1, 1, 1, 2]
    assert [item for chunk in chunks for item in chunk] == given
    assert list(chunker.rest()) == []


class TestOnAnEventLoop:
    @pytest.fixture
    async def client(self, server):
        async with AsyncClient(server.url, signature_dtypes=False) as client:
            yield client

    async def test_asynchronous_iterables(self, echo, client):
        async def items():
            for n in range(7):
                await asyncio.sleep(0)
                yield [n]

        assert values([one async for one in client.predict_many("m", items(), chunk_size=2)]) == list(range(7))

    async def test_a_result_does_not_wait_for_the_next_item(self, echo, client):
        seen = asyncio.Event()

        async def items():
            yield [0]
            await seen.wait()
            yield [1]

        got = []
        async for one in client.predict_many("m", items(), chunk_size=1):
            got.append(one)
            seen.set()
        assert values(got) == [0, 1]

    async def test_requests_are_under_way_at_once_but_no_more_than_allowed(self, server, client):
        first, second, third = (Held(compute(results)) for _ in range(3))
        server.will(first, second, third)
        task = asyncio.create_task(_all(client.predict_many("m", [[n] for n in range(3)], chunk_size=1, concurrency=2)))
        assert await asyncio.to_thread(first.asked.wait, 20)
        assert await asyncio.to_thread(second.asked.wait, 20)
        assert not third.asked.is_set()
        second.free.set()
        assert await asyncio.to_thread(third.asked.wait, 20)
        for held in (third, first):
            held.free.set()
        assert values(await task) == [0, 1, 2]

    async def test_cancelling_ends_what_is_under_way(self, server, client):
        held = Held(compute(results))
        server.otherwise = held
        task = asyncio.create_task(_all(client.predict_many("m", ([n] for n in itertools.count()), chunk_size=1)))
        assert await asyncio.to_thread(held.asked.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        held.free.set()

    async def test_leaving_early_ends_what_is_under_way(self, echo, client):
        async with aclosing(client.predict_many("m", ([n] for n in itertools.count()), chunk_size=1)) as many:
            async for _ in many:
                break
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_an_error_ends_what_is_under_way(self, echo, client):
        items = itertools.chain([[0], "bad"], ([n] for n in itertools.count()))
        with pytest.raises(InvalidInputTypeError):
            await _all(client.predict_many("m", items, chunk_size=1))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_cancelling_a_call_ends_it(self, server, client):
        held = Held(reply({}))
        server.will(held)
        task = asyncio.create_task(client.metrics())
        assert await asyncio.to_thread(held.asked.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held.free.set()
        assert await client.metrics() == {}


async def _all(many):
    return [one async for one in many]


def test_threads_work_at_once_but_no_more_than_allowed(server):
    first, second, third = (Held(compute(results)) for _ in range(3))
    server.will(first, second, third)
    got = []
    with Client(server.url, signature_dtypes=False) as client:
        many = client.predict_many("m", [[n] for n in range(3)], chunk_size=1, concurrency=2)
        thread = threading.Thread(target=lambda: got.extend(many))
        thread.start()
        assert first.asked.wait(20)
        assert second.asked.wait(20)
        assert not third.asked.is_set()
        second.free.set()
        assert third.asked.wait(20)
        for held in (third, first):
            held.free.set()
        thread.join(20)
    assert values(got) == [0, 1, 2]


@pytest.mark.parametrize("is_interrupted", [False, True], ids=["closed", "interrupted"])
def test_leaving_a_stream_breaks_off_requests_that_are_never_answered(server, is_interrupted):
    first, *others = held = [Held(compute(results)) for _ in range(3)]
    server.will(*[lambda handler, asked: held[asked.body["batch"][0]["inputs"][0]](handler, asked)] * 3)

    def items():
        yield [0]
        yield [1]
        assert first.asked.wait(20)
        assert others[0].asked.wait(20)
        if is_interrupted:
            raise KeyboardInterrupt
        first.free.set()
        yield [2]

    with Client(server.url, signature_dtypes=False) as client:
        many = client.predict_many("m", items(), chunk_size=1, concurrency=2)
        if is_interrupted:
            with pytest.raises(KeyboardInterrupt):
                next(many)
        else:
            assert values([next(many)]) == [0]
            many.close()
        assert not any(thread.name.startswith("predict-many") for thread in threading.enumerate())
        assert not others[0].free.is_set()
        for one in held:
            one.free.set()
        client.metrics()
    assert not any(one.waited_in_vain for one in held)


def test_a_client_that_is_closed_ends_its_streams(echo):
    client = Client(echo.url, signature_dtypes=False)
    many = client.predict_many("m", ([n] for n in itertools.count()), chunk_size=1, errors="return")
    assert values([next(many)]) == [0]
    client.close()
    assert "CANCELLED" in itertools.islice((one.code for one in many if isinstance(one, ClientError)), 1)
    many.close()


def test_one_client_serves_many_threads(echo):
    got = [[] for _ in range(4)]
    with Client(echo.url, signature_dtypes=False) as client:

        def work(mine, start):
            mine.extend(client.predict_many("m", ([start + n] for n in range(20)), chunk_size=3))

        threads = [threading.Thread(target=work, args=(mine, 100 * n)) for n, mine in enumerate(got)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert [values(mine) for mine in got] == [list(range(100 * n, 100 * n + 20)) for n in range(4)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgress:
    def test_a_bar_on_a_terminal(self, echo, client, monkeypatch):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        assert len(list(client.predict_many("m", [[n] for n in range(7)], progress="Sorting [red]"))) == 7
        assert "Sorting [red]" in terminal.getvalue()
        assert "7/7" in terminal.getvalue()

    def test_without_a_length_there_is_no_end(self, echo, client, monkeypatch):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        list(client.predict_many("wine", ([n] for n in range(7)), progress=True))
        assert "wine" in terminal.getvalue()
        assert "7/?" in terminal.getvalue()

    @pytest.mark.parametrize("stream", [io.StringIO, Terminal])
    def test_nothing_where_it_is_not_wanted_or_cannot_be_seen(self, echo, client, monkeypatch, stream):
        shown = stream()
        monkeypatch.setattr(sys, "stderr", shown)
        list(client.predict_many("m", [[1]], progress=not shown.isatty()))
        assert shown.getvalue() == ""


def test_results_that_were_taken_are_not_kept(echo):
    def kept():
        gc.collect()
        # Not isinstance: objects that stand for others, of other tests, make them when asked what they are.
        return sum(type(one) is Prediction for one in gc.get_objects())

    before = kept()
    with Client(echo.url, signature_dtypes=False) as client:
        for _ in client.predict_many("m", ([n] * 100 for n in range(300)), chunk_size=2, concurrency=1):
            pass
        assert kept() <= before + 1
