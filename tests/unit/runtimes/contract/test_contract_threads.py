"""Calls from many threads at once, signatures interleaved: each gets the answer to its own input."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from contract_case import assert_equal
from contract_models import OTHER_WORDS, WORDS

from tensorhost.runtimes import load

THREADS, CALLS = 6, 40


def assert_answers(case, expected, answer):
    for name, array in answer.items():
        assert_equal(array, expected[name], case.tolerance)


@pytest.mark.parametrize("tuned", [False, True])
def test_threads_do_not_disturb_each_other(bench, case, tuned):
    questions = [
        (signature, inputs, bench.expected(case, signature, inputs))
        for signature, rows, seed in itertools.product(case.promises, case.rows[:3], range(3))
        for inputs in [case.inputs(signature, rows, seed)]
    ]
    runtime = bench.tuned(case) if tuned else bench.runtime(case)
    ready = threading.Barrier(THREADS)

    def ask(thread):
        ready.wait(30)
        for call in range(CALLS):
            signature, inputs, expected = questions[(thread * 7 + call) % len(questions)]
            assert_answers(case, expected, runtime.run(signature, inputs))

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(ask, thread) for thread in range(THREADS)]:
            done.result(60)


def test_two_of_a_kind_are_two_models(bench, case):
    """Tables and other resources that both name alike stay apart, and closing one leaves the other."""
    first, second = bench.load(case), bench.runtime(case)
    inputs = case.inputs(case.default, case.rows[-1], 4)
    expected = bench.expected(case, case.default, inputs)
    with ThreadPoolExecutor(2) as pool:
        for answer in pool.map(lambda runtime: runtime.run(case.default, inputs), [first, second] * 10):
            assert_answers(case, expected, answer)
    first.close()
    assert_answers(case, expected, second.run(case.default, inputs))


def test_tables_of_the_same_name_hold_what_their_own_model_says(bench, options):
    folder = bench.fixture("contract_graphs")
    runtimes = {name: load(folder / f"{name}.pb", options) for name in ("words", "other_words")}
    text = np.array([b"a", b"b", b"c"], object)
    for _ in range(3):
        for name, numbers in (("words", WORDS), ("other_words", OTHER_WORDS)):
            answer = runtimes[name].run("serving_default", {"text": text})
            assert answer["number"].tolist() == [numbers[b"a"], numbers[b"b"], -1]
    runtimes["words"].close()
    assert runtimes["other_words"].run("serving_default", {"text": text})["number"].tolist() == [10, 20, -1]
    runtimes["other_words"].close()
