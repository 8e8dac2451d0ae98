"""SavedModels as other people's programs leave them: sharded, as text, with odd tags, from Keras, with every type."""

from __future__ import annotations

import os
import shutil
import warnings

import numpy as np
import pytest

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, ModelFailedError, UnsupportedModelError
from tensorhost.runtimes import ModelFormat, load, missing_files
from tensorhost.runtimes.tensorflow.errors import first_line, run_error

BEST = "frozen graph, single-threaded session, prepared callable"
X = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)


def write_v1(tf, path, build, tags=("serve",), sharded=False, text=False, **options):
    """A SavedModel of TensorFlow 1. ``build`` gives ``{signature: (inputs, outputs, method)}``."""
    v1 = tf.compat.v1
    info = v1.saved_model.build_tensor_info
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = {
            name: v1.saved_model.build_signature_def(
                {key: info(tensor) for key, tensor in inputs.items()},
                {key: info(tensor) for key, tensor in outputs.items()},
                f"tensorflow/serving/{method}",
            )
            for name, (inputs, outputs, method) in build(v1).items()
        }
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(path))
        made = {key: value() for key, value in options.items()}
        if sharded:
            made["saver"] = v1.train.Saver(sharded=True)
        builder.add_meta_graph_and_variables(session, list(tags), signature_def_map=signatures, **made)
        builder.save(as_text=text)
    return path


def scaled(tf, use_resource=True):
    def build(v1):
        x = v1.placeholder(tf.float32, [None, 6], name="x")
        with tf.device("/cpu:0"):
            weight = v1.get_variable("weight", initializer=np.full((6, 2), 0.5, np.float32), use_resource=use_resource)
        bias = v1.get_variable("bias", initializer=np.float32([1, 2]), use_resource=use_resource)
        return {"serving_default": ({"x": x}, {"y": tf.matmul(x, weight) + bias}, "predict")}

    return build


EXPECTED = X @ np.full((6, 2), 0.5, np.float32) + np.float32([1, 2])


@pytest.mark.parametrize("use_resource", [True, False])
def test_variables_in_several_files(tf, tmp_path, loaded, use_resource):
    path = write_v1(tf, tmp_path / "m", scaled(tf, use_resource), sharded=True)
    shards = sorted((path / "variables").glob("*.data-*"))
    assert len(shards) == 2
    runtime = loaded(path)
    np.testing.assert_allclose(runtime.run("serving_default", {"x": X})["y"], EXPECTED, rtol=1e-5)
    assert runtime.call_path("serving_default") == BEST


def test_a_missing_shard_is_named(tf, tmp_path, options):
    path = write_v1(tf, tmp_path / "m", scaled(tf), sharded=True)
    (path / "variables" / "variables.data-00001-of-00002").unlink()
    assert missing_files(path, ModelFormat.SAVED_MODEL) == ["variables/variables.data-00001-of-00002"]
    with pytest.raises(ModelFailedError) as caught:
        load(path, options)
    assert str(tmp_path) not in caught.value.message


def test_text_of_tensorflow_1(tf, tmp_path, loaded):
    path = write_v1(tf, tmp_path / "m", scaled(tf), text=True)
    assert (path / "saved_model.pbtxt").is_file()
    assert not (path / "saved_model.pb").exists()
    np.testing.assert_allclose(loaded(path).run("serving_default", {"x": X})["y"], EXPECTED, rtol=1e-5)


def test_text_of_tensorflow_2(tf, models, tmp_path, loaded):
    from google.protobuf import text_format
    from tensorflow.core.protobuf import saved_model_pb2

    for name in ("half_plus_two", "assets", "loop"):
        shutil.copytree(models / name, tmp_path / name)
        binary = tmp_path / name / "saved_model.pb"
        content = saved_model_pb2.SavedModel.FromString(binary.read_bytes())
        binary.with_suffix(".pbtxt").write_text(text_format.MessageToString(content), encoding="utf-8")
        binary.unlink()
    assert loaded(tmp_path / "half_plus_two").run("plus_three", {"x": np.float32([2])})["y"].tolist() == [4.0]
    words = {"word": np.array([b"green"], object)}
    assert loaded(tmp_path / "assets").run("serving_default", words)["index"].tolist() == [1]
    assert loaded(tmp_path / "loop").call_path("serving_default") == BEST


def test_damaged_text_fails_cleanly(tmp_path, options):
    (tmp_path / "saved_model.pbtxt").write_text("meta_graphs { signature_def {", encoding="utf-8")
    with pytest.raises(ModelFailedError, match="damaged"):
        load(tmp_path, options)


@pytest.mark.parametrize("tags", [("serve", "gpu"), ("tpu",), (), ("my tag",)])
def test_unusual_tags(tf, tmp_path, loaded, tags):
    path = write_v1(tf, tmp_path / "m", scaled(tf), tags=tags)
    np.testing.assert_allclose(loaded(path).run("serving_default", {"x": X})["y"], EXPECTED, rtol=1e-5)


@pytest.mark.parametrize("key", ["main_op", "legacy_init_op"])
def test_tables_filled_from_an_asset(tf, tmp_path, loaded, key):
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("red\ngreen\nblue\n", encoding="utf-8")

    def build(v1):
        asset = tf.constant(str(vocabulary), name="asset")
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset)
        index = tf.lookup.TextFileIndex
        entries = tf.lookup.TextFileInitializer(asset, tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER)
        words = v1.placeholder(tf.string, [None], name="words")
        return {"predict": ({"words": words}, {"ids": tf.lookup.StaticHashTable(entries, -1).lookup(words)}, "predict")}

    v1 = tf.compat.v1
    collection = {"assets_collection": lambda: v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS)}
    path = write_v1(tf, tmp_path / "m", build, **{key: v1.tables_initializer}, **collection)
    vocabulary.unlink()
    out = loaded(path).run("predict", {"words": np.array([b"blue", b"?"], object)})
    assert out["ids"].tolist() == [2, -1]
    (path / "assets" / "words.txt").unlink()
    with pytest.raises(ModelFailedError, match="file the model needs is missing"):
        loaded(path)


@pytest.mark.parametrize("fingerprint", [None, b"", b"\xff\xff damaged"])
def test_the_fingerprint_is_no_condition(models, tmp_path, loaded, fingerprint):
    shutil.copytree(models / "half_plus_two", tmp_path / "m")
    file = tmp_path / "m" / "fingerprint.pb"
    file.unlink(missing_ok=True)
    if fingerprint is not None:
        file.write_bytes(fingerprint)
    assert missing_files(tmp_path / "m", ModelFormat.SAVED_MODEL) == []
    assert loaded(tmp_path / "m").run("serving_default", {"x": np.float32([2])})["y"].tolist() == [3.0]


def test_several_input_examples_of_several_features(tf, tmp_path, loaded):
    def build(v1):
        serialized = v1.placeholder(tf.string, [None], name="examples")
        features = {
            "size": v1.FixedLenFeature([2], tf.float32),
            "kind": v1.FixedLenFeature([], tf.string, default_value="none"),
            "ids": v1.VarLenFeature(tf.int64),
        }
        parsed = v1.parse_example(serialized, features)
        ids = tf.sparse.to_dense(parsed["ids"], default_value=-1)
        outputs = {"total": tf.reduce_sum(parsed["size"], 1), "kind": parsed["kind"], "ids": ids}
        return {"serving_default": ({"examples": serialized}, outputs, "predict")}

    runtime = loaded(write_v1(tf, tmp_path / "m", build))

    def example(**features):
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    def floats(*values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    full = example(
        size=floats(1, 2),
        kind=tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"cat"])),
        ids=tf.train.Feature(int64_list=tf.train.Int64List(value=[7, 8])),
    )
    out = runtime.run("serving_default", {"examples": np.array([full, example(size=floats(3, 4))], object)})
    assert out["total"].tolist() == [3.0, 7.0]
    assert out["kind"].tolist() == [b"cat", b"none"]
    assert out["ids"].tolist() == [[7, 8], [-1, -1]]
    for broken, message in ((b"\xff\xff", "Could not parse example"), (example(), "size")):
        with pytest.raises(InvalidRequestError, match=message):
            runtime.run("serving_default", {"examples": np.array([broken], object)})


MORE_DTYPES = ("int16", "int32", "uint16", "uint32", "uint64", "float32", "complex128")


def test_every_other_element_type_and_scalars(tf, tmp_path, loaded):
    module = tf.Module()
    signatures = {}
    for name in MORE_DTYPES:
        dtype = tf.as_dtype(name)
        specs = [tf.TensorSpec([], dtype, name="one"), tf.TensorSpec([None, 2], dtype, name="rows")]
        signatures[name] = tf.function(
            lambda one, rows: {"one": tf.identity(one), "rows": tf.reverse(rows, [1])}, input_signature=specs
        )
    signatures["text"] = tf.function(
        lambda one: {"joined": tf.strings.join([one, one], "-")}, input_signature=[tf.TensorSpec([], tf.string, "one")]
    )
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=signatures)
    runtime = loaded(tmp_path / "m")
    for name in MORE_DTYPES:
        dtype = DType(name).numpy
        out = runtime.run(name, {"one": np.array(3, dtype), "rows": np.array([[1, 2]], dtype)})
        assert out["one"].dtype == out["rows"].dtype == dtype
        assert out["one"].shape == ()
        assert out["one"].item() == 3
        assert out["rows"].tolist() == [[2, 1]]
    one = np.array(b"a\0\xff", object).reshape(())
    assert runtime.run("text", {"one": one})["joined"].item() == b"a\0\xff-a\0\xff"


def test_a_signature_without_inputs_beside_others(tf, tmp_path, loaded):
    module = tf.Module()
    module.version = tf.Variable(["1.2"])
    version = tf.function(lambda: {"version": tf.identity(module.version)}, input_signature=[])
    double = tf.function(lambda x: {"y": x * 2}, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"version": version, "serving_default": double})
    runtime = loaded(tmp_path / "m")
    assert list(runtime.signatures) == ["serving_default", "version"]
    assert runtime.run("version", {})["version"].tolist() == [b"1.2"]
    assert runtime.signatures["version"].may_batch is False


def keras_model(keras):
    image = keras.Input((6,), name="image")
    hidden = keras.layers.Dense(4, activation="relu")(image)
    outputs = {
        "digit": keras.layers.Dense(3, activation="softmax", name="digit")(hidden),
        "size": keras.layers.Dense(1, name="size")(hidden),
    }
    return keras.Model(image, outputs)


@pytest.mark.parametrize("way", ["export", "saved_model", "signature"])
def test_what_keras_exports(tf, keras, tmp_path, loaded, way):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = keras_model(keras)
        path = str(tmp_path / "m")
        if way == "export":
            model.export(path, verbose=False)
        elif way == "saved_model":
            tf.saved_model.save(model, path)
        else:
            spec = tf.TensorSpec([None, 6], tf.float32, name="image")
            tf.saved_model.save(model, path, signatures=tf.function(model, input_signature=[spec]))
        expected = model.predict_on_batch(X)
    runtime = loaded(tmp_path / "m")
    assert runtime.call_path("serving_default") == BEST
    (name,) = runtime.signatures["serving_default"].inputs
    out = runtime.run("serving_default", {name: X})
    assert out.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(out[key], value, rtol=1e-5, atol=1e-6)


def test_a_graph_file_over_two_gigabytes_is_refused_unread(tmp_path, options):
    for name in ("saved_model.pb", "saved_model.pbtxt"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        with (folder / name).open("wb") as file:
            os.truncate(file.fileno(), 2**31 + 5)
        with pytest.raises(UnsupportedModelError, match=f"{name} is larger than 2 GB"):
            load(folder, options)


def test_several_unknown_operations_are_named_at_once(models, tmp_path, options):
    shutil.copytree(models / "strings", tmp_path / "m")
    file = tmp_path / "m" / "saved_model.pb"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"StringUpper", b"StringUpped").replace(b"StridedSlice", b"StridedSlicf"))
    with pytest.raises(UnsupportedModelError, match="operations StridedSlicf, StringUpped, which TensorFlow itself"):
        load(tmp_path / "m", options)


def test_errors_show_no_node_and_survive_bytes_that_are_no_text(tf):
    gather = "indices[0] = [9] does not index into param shape [3,5], node name: a/b.c>d/GatherNd"
    assert first_line(ValueError(gather)) == "indices[0] = [9] does not index into param shape [3,5]"
    unreadable = UnicodeDecodeError("utf-8", b"no such key: \xff", 13, 14, "invalid start byte")
    error = run_error(tf, unreadable)
    assert isinstance(error, InvalidRequestError)
    assert error.message == "The model refused the input: no such key: \N{REPLACEMENT CHARACTER}"
