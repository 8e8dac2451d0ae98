"""What models parse out of serialized Examples, and that Examples made up from that are taken."""

from __future__ import annotations

import numpy as np
import pytest
from serving_models import write_repository

from tensorhost.core.dtypes import DType
from tensorhost.models.made_up_examples import made_up_example
from tensorhost.models.warmup import WarmupOptions, warm_up
from tensorhost.runtimes.base import ExampleFeature
from tensorhost.runtimes.race.routed import Route, RoutedRuntime

X, X2, ID = (
    ExampleFeature("x", DType.FLOAT32, 1),
    ExampleFeature("x2", DType.FLOAT32, 1),
    ExampleFeature("id", DType.INT64, 1),
)
WARMUP = WarmupOptions(iterations=1, max_batch_rows=4, batching=True, threshold_s=1.0)


@pytest.fixture(scope="module")
def serving(tf, tmp_path_factory):
    root = tmp_path_factory.mktemp("serving")
    write_repository(tf, root)
    return root


@pytest.fixture(scope="module")
def kinds(tf, tmp_path_factory):
    """Every way of parsing, every type, features of several and of any number of values, and sparse ones."""
    module = tf.Module()
    features = {
        "word": tf.io.FixedLenFeature([2], tf.string),
        "grid": tf.io.FixedLenFeature([2, 3], tf.float32),
        "any": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
        "sparse": tf.io.VarLenFeature(tf.int64),
        "ragged": tf.io.RaggedFeature(tf.float32),
    }
    strings = tf.TensorSpec([None], tf.string, name="examples")

    @tf.function(input_signature=[strings])
    def every(examples):
        parsed = tf.io.parse_example(examples, features)
        return {"words": parsed["word"], "sums": tf.reduce_sum(parsed["grid"], [1, 2])}

    @tf.function(input_signature=[strings])
    def one_by_one(examples):
        def parse(example):
            return tf.io.parse_single_example(example, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]

        return {"x": tf.map_fn(parse, examples, fn_output_signature=tf.float32)}

    @tf.function(input_signature=[strings, tf.TensorSpec([None], tf.float32, name="scale")])
    def none(examples, scale):
        return {"length": tf.cast(tf.strings.length(examples), tf.float32) * scale}

    folder = tmp_path_factory.mktemp("kinds") / "1"
    signatures = {"serving_default": every, "one_by_one": one_by_one, "none": none}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def test_features_of_tensorflow_1_and_2(serving, loaded):
    first = loaded(serving / "half_plus_two" / "00000123")
    assert set(first.example_features("regress_x_to_y")) == {X, X2}
    assert first.example_features("serving_default") == ()
    second = loaded(serving / "examples" / "1")
    assert set(second.example_features("serving_default")) == {ExampleFeature("x", DType.FLOAT32, 2), ID}
    assert second.example_features("not_examples") == ()


def test_every_kind_of_feature(kinds, loaded):
    runtime = loaded(kinds)
    assert set(runtime.example_features("serving_default")) == {
        ExampleFeature("word", DType.STRING, 2),
        ExampleFeature("grid", DType.FLOAT32, 6),
        ExampleFeature("any", DType.INT64, 4),
    }
    assert runtime.example_features("one_by_one") == (X,)
    assert runtime.example_features("none") == ()


def test_of_several_runtimes_the_one_that_knows_is_asked(serving, loaded):
    name = "regress_x_to_y"
    runtime = loaded(serving / "half_plus_two" / "00000123")
    routed = RoutedRuntime({name: runtime.signatures[name]}, {name: [Route(2**31, runtime, name)]}, {}, 1)
    assert set(routed.example_features(name)) == {X, X2}


def test_models_are_warmed_and_batched_by_examples_made_up_from_them(serving, kinds, loaded):
    for folder in (serving / "half_plus_two" / "00000123", serving / "examples" / "1", kinds):
        runtime = loaded(folder)
        for name, signature in runtime.signatures.items():
            plan = warm_up(runtime, signature, WARMUP)
            assert (plan.batched, plan.problem) == (True, ""), (folder, name, plan.reason)


def test_made_up_examples_differ_by_row_and_are_the_same_each_time(tf):
    features = (ExampleFeature("a", DType.FLOAT32, 3), ExampleFeature("b", DType.INT64, 2))
    features += (ExampleFeature("c", DType.STRING, 2),)
    rows = [made_up_example(features, 0, row) for row in range(5)]
    assert rows == [made_up_example(features, 0, row) for row in range(5)]
    assert len(set(rows)) == 5
    example = tf.train.Example.FromString(rows[2])
    assert len(example.features.feature["a"].float_list.value) == 3
    assert (np.array(example.features.feature["a"].float_list.value) <= 0).all()
    assert set(example.features.feature["b"].int64_list.value) <= {0, 1}
    assert list(example.features.feature["c"].bytes_list.value) == [b"up", b"tensorhost"]
