import asyncio

import pytest
from engine_bench import EngineBench

from tensorhost.core.errors import ErrorCode, InternalError, OutOfMemoryError, OverloadedError
from tensorhost.inference import as_tensorhost_error, code_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OverloadedError("Full."), ErrorCode.OVERLOADED),
        (MemoryError(), ErrorCode.OUT_OF_MEMORY),
        (ValueError("secret"), ErrorCode.INTERNAL),
        (asyncio.CancelledError(), ErrorCode.CANCELLED),
    ],
)
def test_every_error_is_counted_under_a_code(error, code):
    assert code_of(error) is code


def test_what_is_no_error_of_ours_reaches_clients_without_its_insides():
    known = OverloadedError("Full.")
    assert as_tensorhost_error(known) is known
    assert isinstance(as_tensorhost_error(MemoryError()), OutOfMemoryError)
    hidden = as_tensorhost_error(ValueError("secret"))
    assert isinstance(hidden, InternalError)
    assert "secret" not in hidden.message


async def test_leaving_counts_a_failure_and_gives_the_lease_back_whatever_was_raised():
    bench = EngineBench()
    for error in (ValueError(), KeyboardInterrupt()):
        with pytest.raises(type(error)), await bench.engine.admit("m", None, bench.engine.deadline(None)):
            raise error
    assert bench.counted() == (2, {"INTERNAL": 1, "CANCELLED": 1})
    bench.check_idle()


async def test_items_of_a_batch_are_counted_one_by_one():
    bench = EngineBench()
    with await bench.engine.admit("m", None, bench.engine.deadline(None)) as admission:
        admission.record_failure(ErrorCode.RAGGED_INPUT)
        admission.record_failure(ErrorCode.RAGGED_INPUT)
    assert bench.counted() == (2, {"RAGGED_INPUT": 2})
    bench.check_idle()
