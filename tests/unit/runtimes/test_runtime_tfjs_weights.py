from __future__ import annotations

import math
import struct
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tfjs_graph_models import GraphModel

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.tfjs.model_json import ModelJson, Quantization, WeightGroup, WeightSpec
from tensorhost.runtimes.tfjs.weights import read_weights


def spec(name, dtype, shape, quantization=None, *, optimizer=False):
    return WeightSpec(name, dtype, tuple(shape), quantization, optimizer)


def model(folder, *groups):
    return ModelJson(folder / "model.json", {"node": []}, tuple(groups), {})


def one(folder, contents, *weights, cuts=()):
    """A model with one group whose shards are ``contents`` cut at ``cuts``."""
    borders = [0, *cuts, len(contents)]
    names = []
    for number, (start, end) in enumerate(pairwise(borders)):
        names.append(f"{number}.bin")
        (folder / names[-1]).write_bytes(contents[start:end])
    return model(folder, WeightGroup(tuple(names), weights))


def text(*strings):
    return b"".join(struct.pack("<I", len(string)) + string for string in strings)


def fails(folder_model):
    with pytest.raises(ModelFailedError) as caught:
        read_weights(folder_model)
    return caught.value


MIXED = (
    spec("f", "float32", (2, 3)),
    spec("s", "string", (3,)),
    spec("scalar", "int32", ()),
    spec("empty", "float32", (0, 4)),
    spec("b", "bool", (3,)),
    spec("m", "float32", (2,), optimizer=True),
    spec("c", "complex64", (1,)),
    spec("h", "float32", (2,), Quantization("float16")),
)
CONTENTS = (
    np.arange(6, dtype="<f4").tobytes()
    + text(b"", "zoë".encode(), b"abc")
    + struct.pack("<i", -5)
    + bytes([0, 1, 2])
    + np.zeros(2, "<f4").tobytes()
    + np.array([1 - 2j], "<c8").tobytes()
    + np.array([0.1, -65504], "<f2").tobytes()
)


@given(cuts=st.lists(st.integers(0, len(CONTENTS)), max_size=6).map(sorted))
def test_every_type_is_read_wherever_shards_end(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("shards")
    weights = read_weights(one(folder, CONTENTS, *MIXED, cuts=cuts))
    assert list(weights) == ["f", "s", "scalar", "empty", "b", "c", "h"]
    np.testing.assert_array_equal(weights["f"], np.arange(6, dtype=np.float32).reshape(2, 3), strict=True)
    assert weights["s"].tolist() == [b"", "zoë".encode(), b"abc"]
    assert (weights["scalar"].shape, weights["scalar"].dtype, int(weights["scalar"])) == ((), np.int32, -5)
    assert weights["empty"].shape == (0, 4)
    np.testing.assert_array_equal(weights["b"], np.array([False, True, True]), strict=True)
    np.testing.assert_array_equal(weights["c"], np.array([1 - 2j], np.complex64), strict=True)
    halves = np.array([0.1, -65504], np.float16).astype(np.float32)
    np.testing.assert_array_equal(weights["h"], halves, strict=True)


def test_groups_are_read_on_their_own(tmp_path):
    (tmp_path / "a").write_bytes(struct.pack("<f", 1.5))
    (tmp_path / "b").write_bytes(struct.pack("<i", 2))
    groups = (WeightGroup(("a",), (spec("x", "float32", ()),)), WeightGroup(("b",), (spec("y", "int32", ()),)))
    assert {name: float(value) for name, value in read_weights(model(tmp_path, *groups)).items()} == {"x": 1.5, "y": 2}


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(
    stored=st.lists(st.integers(0, 65535), min_size=1, max_size=20),
    dtype=st.sampled_from(["uint8", "uint16"]),
    scale=numbers,
    minimum=numbers,
)
def test_quantised_values_are_those_of_javascript(tmp_path_factory, stored, dtype, scale, minimum):
    """JavaScript computes in float64, rounds halves upwards, and keeps the lowest 32 bits of an integer."""
    folder = tmp_path_factory.mktemp("quantised")
    values = np.array([value % 256 if dtype == "uint8" else value for value in stored], dtype)
    affine = Quantization(dtype, scale, minimum)
    shape = (len(stored),)
    weights = read_weights(
        one(folder, values.tobytes() * 2, spec("f", "float32", shape, affine), spec("i", "int32", shape, affine))
    )
    exact = [int(value) * scale + minimum for value in values]
    np.testing.assert_array_equal(weights["f"], np.array(exact).astype(np.float32), strict=True)
    rounded = [math.floor(value) + (value - math.floor(value) >= 0.5) for value in exact]
    wrapped = [(value + 2**31) % 2**32 - 2**31 for value in rounded]
    np.testing.assert_array_equal(weights["i"], np.array(wrapped, np.int32), strict=True)


def test_a_quantised_integer_is_rounded_as_javascript_rounds(tmp_path):
    below_half = 0.49999999999999994  # adding 0.5 to it gives 1 in float64
    contents = bytes([0, 1, 3, 5, 7])
    affine = Quantization("uint8", 0.5, -1.0)
    weights = read_weights(one(tmp_path, contents, spec("i", "int32", (5,), affine)))
    assert weights["i"].tolist() == [-1, 0, 1, 2, 3]
    weights = read_weights(one(tmp_path, b"\1", spec("i", "int32", (), Quantization("uint8", below_half, 0.0))))
    assert int(weights["i"]) == 0


def test_values_beyond_float32_are_infinite(tmp_path):
    weights = read_weights(one(tmp_path, b"\0\2", spec("f", "float32", (2,), Quantization("uint8", 3e38, 0.0))))
    assert weights["f"].tolist() == [0.0, math.inf]


def test_a_large_quantised_weight_is_whole(tmp_path):
    stored = np.random.default_rng(0).integers(0, 65536, 600_000).astype(np.uint16)
    affine = Quantization("uint16", 0.001, -3.0)
    model_json = one(tmp_path, stored.tobytes(), spec("f", "float32", (600, 1000), affine), cuts=(77_777, 900_001))
    expected = (stored * 0.001 - 3.0).astype(np.float32).reshape(600, 1000)
    np.testing.assert_array_equal(read_weights(model_json)["f"], expected, strict=True)


FLOATS = tuple(spec(name, "float32", (5,)) for name in "abc")  # 60 bytes


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((59,), "'0.bin' has 59 bytes; the manifest promises 60"),
        ((61,), "'0.bin' has 61 bytes; the manifest promises 60"),
        ((25, 25, 9), "'2.bin' has 9 bytes; the manifest promises 10"),
        ((25, 25, 12), "'2.bin' has 12 bytes; the manifest promises 10"),
        ((25, 20, 10), "'1.bin' has 20 bytes; the manifest promises 25"),
        ((0,), "'0.bin' has 0 bytes; the manifest promises 60"),
        ((9, 8, 7), "have 24 bytes together; the manifest promises 60: '0.bin' (9), '1.bin' (8), '2.bin' (7)"),
    ],
)
def test_shards_of_another_size_are_named_with_both_sizes(tmp_path, sizes, words):
    contents = bytes(sum(sizes))
    cuts = [sum(sizes[:count]) for count in range(1, len(sizes))]
    error = fails(one(tmp_path, contents, *FLOATS, cuts=cuts))
    assert words in error.message
    assert str(tmp_path) not in error.message


def test_a_missing_shard_is_named(tmp_path):
    broken = one(tmp_path, bytes(60), *FLOATS, cuts=(30,))
    (tmp_path / "1.bin").unlink()
    assert fails(broken).message == "The weight file '1.bin' is missing."
    (tmp_path / "1.bin").mkdir()
    assert fails(broken).message == "The weight file '1.bin' is not a file."


def test_weights_without_a_file(tmp_path):
    assert "names no file" in fails(model(tmp_path, WeightGroup((), FLOATS))).message


def test_sizes_are_compared_before_anything_is_allocated(tmp_path):
    huge = one(tmp_path, bytes(60), spec("a", "float32", (2**30, 2)), spec("s", "string", (2**30,)))
    tracemalloc.start()
    try:
        assert "promises at least" in fails(huge).message
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (struct.pack("<I", 2**32 - 1) + bytes(8), "A string of the weight 's' is longer"),
        (text(b"abcdef") + bytes(2), "longer than the weight files"),
        (text(b"", b"") + bytes(5), "has 13 bytes; the manifest promises 12"),
        (text(b"abcd", b"") + bytes(3), "longer than the weight files"),
    ],
)
def test_lengths_of_strings_are_not_believed(tmp_path, contents, words):
    broken = one(tmp_path, contents, spec("s", "string", (2,)), spec("i", "int32", ()))
    assert words in fails(broken).message


def test_reading_needs_little_more_memory_than_the_weights(tmp_path):
    contents = np.ones(2**21, "<f4").tobytes()
    folder_model = one(tmp_path, contents, spec("f", "float32", (2**21,)), cuts=(5_000_001,))
    tracemalloc.start()
    try:
        weights = read_weights(folder_model)
        assert tracemalloc.get_traced_memory()[1] < 1.05 * weights["f"].nbytes
    finally:
        tracemalloc.stop()


def test_the_makers_write_what_is_read(tmp_path):
    made = GraphModel()
    made.const("f", np.float32([1, 2]))
    made.const("s", np.array([b"x"], object))
    path = made.write(tmp_path, shard_bytes=5)
    from tensorhost.runtimes.tfjs.model_json import read_model_json

    weights = read_weights(read_model_json(path))
    assert (weights["f"].tolist(), weights["s"].tolist()) == ([1, 2], [b"x"])
