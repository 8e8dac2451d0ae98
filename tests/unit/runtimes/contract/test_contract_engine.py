"""Models behind the engine: right requests are answered, wrong ones refused before the model sees them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil

import numpy as np
import pytest
from contract_case import assert_equal, read_spec
from contract_cases import CASES, REFUSALS

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import (
    InvalidInputShapeError,
    InvalidInputTypeError,
    InvalidRequestError,
    MissingInputError,
    SignatureNotFoundError,
    UnknownInputError,
)
from tensorhost.inference import InferenceEngine
from tensorhost.models import ModelManager
from tensorhost.runtimes import ModelFormat, locate_model
from tensorhost.settings import Settings

pytestmark = pytest.mark.asyncio
SETTINGS = Settings(probe=False, warmup_iterations=1, max_batch_size=8, intra_op_threads=1, inter_op_threads=1)


@contextlib.asynccontextmanager
async def serving(bench, case, folder):
    """An engine with the case's model in it, under the name ``m``."""
    location, _ = locate_model(bench.path(case))
    together = location if location.is_dir() else location.parent
    if location.is_dir() or case.format is ModelFormat.TFJS:
        shutil.copytree(together, folder / "m" / "1")
    else:
        (folder / "m" / "1").mkdir(parents=True)
        shutil.copy(location, folder / "m" / "1")
    tables = {name.removeprefix("graph_"): table for name, table in case.options.items()}
    text = "".join(
        f"[graph.{name}]\n" + "".join(f'{key} = "{value}"\n' for key, value in table.items())
        for name, table in tables.items()
    )
    (folder / "m" / "model.toml").write_text(text, encoding="utf-8")
    manager = ModelManager(SETTINGS)
    async with manager:
        await manager.load_model("m", folder / "m")
        yield InferenceEngine(manager)


def plain(case):
    """Whether the model loads as it does for everybody."""
    return case.loading is contextlib.nullcontext


@pytest.mark.parametrize("case", [case for case in CASES if plain(case)], ids=repr)
async def test_right_requests_are_answered_and_wrong_ones_refused(bench, case, tmp_path):
    async with serving(bench, case, tmp_path) as engine:
        given = {rows: case.inputs(case.default, rows, seed=rows) for rows in case.rows}
        expected = {rows: bench.expected(case, case.default, inputs) for rows, inputs in given.items()}

        async def ask(rows):
            answer = await engine.predict("m", given[rows])
            assert list(answer.outputs) == list(case.promises[case.default].outputs)
            for name, array in answer.outputs.items():
                assert_equal(array, expected[rows][name], max(case.tolerance, 1e-5))

        await asyncio.gather(*(ask(rows) for rows in case.rows * 4))
        for wrong, error in wrong_requests(case, given[case.rows[0]]):
            with pytest.raises(error) as caught:
                await engine.predict("m", wrong)
            assert caught.value.message
            assert str(tmp_path) not in caught.value.message
        with pytest.raises(SignatureNotFoundError, match=case.default):
            await engine.predict("m", given[case.rows[0]], signature="nobody")
        await asyncio.gather(*(ask(rows) for rows in case.rows))
        await check_no_rows(engine, case)
        assert engine.in_flight == 0


async def check_no_rows(engine, case):
    """No rows are answered with no rows, without a call, wherever the signature tells their shape."""
    outputs = {name: read_spec(text) for name, text in case.promises[case.default].outputs.items()}
    inputs = case.inputs(case.default, 0)
    per_row = all(shape and shape[0] is None and None not in shape[1:] for _, shape in outputs.values())
    if not per_row or any(array.size for array in inputs.values()):
        return
    answer = await engine.predict("m", inputs)
    for name, (dtype, shape) in outputs.items():
        assert answer.outputs[name].dtype == dtype.numpy
        assert answer.outputs[name].shape == (0, *shape[1:])


def wrong_requests(case, right):
    """Requests each with one thing wrong, and the error it must give."""
    yield {**right, "nobody": np.zeros(1, np.float32)}, UnknownInputError
    yield {}, MissingInputError
    for name, text in case.promises[case.default].inputs.items():
        dtype, shape = read_spec(text)
        array = right[name]
        yield {key: value for key, value in right.items() if key != name} | {"x y": array}, MissingInputError
        yield right | {name: np.array("text") if dtype is not DType.STRING else 7}, InvalidInputTypeError
        if dtype is not DType.STRING:
            yield right | {name: np.full(array.shape, 1j)}, InvalidInputTypeError
        if dtype.is_integer:
            yield right | {name: np.full(array.shape, 0.5)}, InvalidInputTypeError
            yield right | {name: np.full(array.shape, 2**40)}, InvalidInputTypeError
        if shape is not None:
            yield right | {name: array[None]}, InvalidInputShapeError
            yield right | {name: array[None, None, None, None]}, InvalidInputShapeError
        for axis, size in enumerate(shape or ()):
            if size is not None:
                longer = np.concatenate([array, array], axis)
                yield right | {name: longer}, InvalidInputShapeError
    if len(right) > 1 and all(
        text.startswith(("float32 [?", "int32 [?")) for text in case.promises[case.default].inputs.values()
    ):
        name, array = next(iter(right.items()))
        yield right | {name: np.concatenate([array, array])}, InvalidInputShapeError


@pytest.mark.parametrize(("case", "values", "good"), REFUSALS, ids=repr)
async def test_values_that_the_model_refuses_are_the_requests_fault(bench, case, values, good, tmp_path):
    async with serving(bench, case, tmp_path) as engine:
        for _ in range(2):
            with pytest.raises(InvalidRequestError) as caught:
                await engine.predict("m", values, signature=case.default)
            assert type(caught.value) is InvalidRequestError
            assert str(tmp_path) not in caught.value.message
            await engine.predict("m", good, signature=case.default)
