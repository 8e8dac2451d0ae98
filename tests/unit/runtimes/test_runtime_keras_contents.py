"""What a Keras model could do, told from its configuration: real files, and configurations that attackers write."""

from __future__ import annotations

import json
import warnings
import zipfile

import h5py
import numpy as np
import pytest

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes import FindingKind, LoadOptions, ModelFormat, examine
from tensorhost.runtimes.keras.contents import examine_layers
from tensorhost.runtimes.keras.weight_count import count_parameters

FUNCTION = {"module": "builtins", "class_name": "function", "registered_name": "function"}


def layer(class_name, module="keras.layers", **settings):
    return {"module": module, "class_name": class_name, "config": {"name": "a"} | settings, "registered_name": None}


def model(*layers, **more):
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}} | more


def found(config, options):
    return [(finding.kind, finding.subject, finding.count) for finding in examine_layers(config, options).findings]


@pytest.mark.parametrize("name", ["two_by_two", "mapping", "sequential", "text", "lstm", "same_layer"])
def test_files_with_nothing_but_keras_have_no_findings(keras_models, keras, options, name):
    contents = examine(keras_models / f"{name}.keras", options)
    assert contents.findings == ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert contents.parameters == keras.saving.load_model(keras_models / f"{name}.keras").count_params()


def test_layers_are_counted_by_class(keras_models, options):
    contents = examine(keras_models / "two_by_two.keras", options)
    assert contents.operations == {"Dense": 2, "InputLayer": 2, "Add": 1}


def test_a_lambda_layer_runs_python_whether_it_is_allowed_or_not(keras_models):
    for allowed in (False, True):
        contents = examine(keras_models / "lambda.keras", LoadOptions(1, 1, allow_lambda=allowed))
        assert [(item.kind, item.subject) for item in contents.findings] == [(FindingKind.RUNS_PYTHON, "Lambda")]


def test_a_class_that_keras_does_not_have_is_unknown_code(keras_models, options):
    contents = examine(keras_models / "unknown.keras", options)
    assert [(item.kind, item.subject) for item in contents.findings] == [
        (FindingKind.UNKNOWN_CODE, "keras_models.Unknown")
    ]
    assert contents.operations["Unknown"] == 1


def test_hdf5_files_are_examined_alike(keras, options, tmp_path):
    x = keras.Input((4,), name="x")
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, kernel_regularizer="l2")])
    doubled = keras.layers.Lambda(lambda value: value * 2.0)(inner(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras.Model(x, doubled).save(tmp_path / "model.h5")
    contents = examine(tmp_path / "model.h5", options)
    assert contents.operations == {"InputLayer": 2, "Dense": 1, "Lambda": 1, "Sequential": 1}
    assert contents.parameters == 25
    assert [(item.kind, item.subject) for item in contents.findings] == [(FindingKind.RUNS_PYTHON, "Lambda")]


@pytest.mark.usefixtures("keras")
@pytest.mark.parametrize(
    ("config", "finding"),
    [
        (model(layer("system", module="os")), (FindingKind.UNKNOWN_CODE, "os.system", 1)),
        (model(layer("get_file", module="keras.utils")), (FindingKind.UNKNOWN_CODE, "keras.utils.get_file", 1)),
        (model(layer("Dense", module="evil.layers")), (FindingKind.UNKNOWN_CODE, "evil.layers.Dense", 1)),
        (model(layer("Dense", module="keras_hub.layers")), (FindingKind.UNKNOWN_CODE, "keras_hub.layers.Dense", 1)),
        (model(layer("Missing", module=None)), (FindingKind.UNKNOWN_CODE, "Missing", 1)),
        (
            model(layer("Dense", activation=FUNCTION | {"config": "mine"})),
            (FindingKind.UNKNOWN_CODE, "mine", 1),
        ),
        (
            model(layer("Dense", activation=FUNCTION | {"config": "system", "module": "os"})),
            (FindingKind.UNKNOWN_CODE, "os.system", 1),
        ),
        (
            model(layer("Dense", activation=FUNCTION | {"config": "get_file", "module": "keras.utils"})),
            (FindingKind.UNKNOWN_CODE, "keras.utils.get_file", 1),
        ),
        (
            model(layer("Dense", activation={"class_name": "__lambda__", "config": {"code": "4wEA"}})),
            (FindingKind.RUNS_PYTHON, "lambda", 1),
        ),
        (
            model(layer("Dense", kernel_initializer={"class_name": "__typespec__", "spec_name": "x", "module": "os"})),
            (FindingKind.UNKNOWN_CODE, "os.__typespec__", 1),
        ),
        (model(layer("TFSMLayer", filepath="/x")), (FindingKind.UNKNOWN_CODE, "TFSMLayer", 1)),
        (model(layer("TorchModuleWrapper")), (FindingKind.RUNS_PYTHON, "TorchModuleWrapper", 1)),
        (model(layer("StringLookup", vocabulary="/etc/passwd")), (FindingKind.READS_FILES, "StringLookup", 1)),
        (model(layer("TFOpLambda", module=None, function="io.write_file")),
         (FindingKind.UNKNOWN_CODE, "tf.io.write_file", 1)),
        (model(model(layer("Lambda"), compile_config=None), layer("Lambda")), (FindingKind.RUNS_PYTHON, "Lambda", 2)),
        (
            model(model(layer("Dense"), compile_config={"loss": FUNCTION | {"config": "mine"}})),
            (FindingKind.UNKNOWN_CODE, "mine", 1),
        ),
    ],
)  # fmt: skip
def test_configurations_that_reach_beyond_keras(options, config, finding):
    assert found(config, options) == [finding]


@pytest.mark.usefixtures("keras")
@pytest.mark.parametrize(
    "config",
    [
        model(layer("Dense"), compile_config={"loss": FUNCTION | {"config": "mine"}}),
        model(layer("Dense", activation=FUNCTION | {"config": "softmax", "module": "keras.activations"})),
        model(layer("GetItem", module="keras.src.ops.numpy")),
        model(layer("StringLookup", vocabulary=["a", "b"])),
        model(layer("TFOpLambda", module=None, function="math.multiply")),
        model(layer("Dense", dtype={"class_name": "Policy", "config": {"name": "mixed_float16"}}, module=None)),
        model(layer("Dense", kernel_initializer={"class_name": "GlorotUniform", "config": {"seed": None}})),
        model(layer("Dense", module="tensorflow.keras.layers")),
        model(layer("Dense", shape={"class_name": "__tuple__", "items": [1, 2]})),
        model(model(layer("Dense"), compile_config={"optimizer": layer("Adam", module="keras.optimizers")})),
    ],
)
def test_configurations_that_stay_within_keras(options, config):
    assert found(config, options) == []


def test_what_the_operators_own_modules_register_is_known(keras, options):
    config = model(layer("Registered", module=None) | {"registered_name": "examined>Registered"})
    assert [subject for _, subject, _ in found(config, options)] == ["examined>Registered"]

    @keras.saving.register_keras_serializable("examined")
    class Registered(keras.layers.Layer):
        pass

    try:
        assert found(config, options) == []
    finally:
        keras.saving.get_custom_objects().pop("examined>Registered")


@pytest.mark.usefixtures("keras")
@pytest.mark.parametrize("config", [{}, {"class_name": 3}, {"class_name": "Sequential"}, model(None, 3, "x", [])])
def test_odd_configurations_are_read(options, config):
    assert found(config, options) == []


@pytest.mark.usefixtures("keras")
def test_deep_configurations_are_read(options):
    config = layer("Dense")
    for _ in range(50_000):
        config = {"inner": config}
    assert examine_layers(model(config), options).operations == {"Dense": 1}


def test_a_damaged_archive_is_an_error(options, tmp_path):
    (tmp_path / "m.keras").write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(ModelFailedError, match="damaged"):
        examine(tmp_path / "m.keras", options)


# -- parameters --------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(keras, tmp_path):
    """A file with the state of training in it."""
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dropout(0.5, seed=1)])
    network.compile("adam", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.fit(np.zeros((4, 4), np.float32), np.zeros((4, 3), np.float32), verbose=0)
        network.save(tmp_path / "trained.keras")
    return tmp_path / "trained.keras"


def repacked(source, target, weights, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        new.writestr("config.json", old.read("config.json"))
        for name, content in weights.items():
            new.writestr(name, content)
    return target


def test_the_state_of_training_is_no_parameter(trained):
    assert count_parameters(trained, ModelFormat.KERAS) == 15


def test_weights_are_counted_in_compressed_and_in_divided_archives(trained, tmp_path):
    with zipfile.ZipFile(trained) as archive:
        weights = archive.read("model.weights.h5")
    packed = repacked(trained, tmp_path / "p.keras", {"model.weights.h5": weights}, zipfile.ZIP_DEFLATED)
    divided = {"model_00000.weights.h5": weights, "model_00001.weights.h5": weights, "model.weights.json": b"{}"}
    assert count_parameters(packed, ModelFormat.KERAS) == 15
    assert count_parameters(repacked(trained, tmp_path / "d.keras", divided), ModelFormat.KERAS) == 30


@pytest.mark.parametrize(
    "weights", [{}, {"model.weights.h5": b""}, {"model.weights.h5": b"\x89HDF\r\n\x1a\n" + b"x" * 99}]
)
def test_damaged_weights_tell_nothing(trained, tmp_path, weights):
    assert count_parameters(repacked(trained, tmp_path / "d.keras", weights), ModelFormat.KERAS) is None


def test_links_are_not_followed_and_shapes_are_not_believed_without_limit(tmp_path):
    outside, file = tmp_path / "outside.h5", tmp_path / "m.h5"
    with h5py.File(outside, "w") as other:
        other["secret"] = np.zeros(7)
    with h5py.File(file, "w") as opened:
        group = opened.create_group("model_weights")
        group["kernel"] = np.zeros((2, 3))
        group["again"] = group["kernel"]
        group["loop"] = group
        group["names"] = np.array([b"a"])
        group["elsewhere"] = h5py.ExternalLink(str(outside), "secret")
        group["soft"] = h5py.SoftLink("/model_weights/kernel")
    assert count_parameters(file, ModelFormat.KERAS_H5) == 6
    with h5py.File(file, "a") as opened:
        opened["model_weights"].create_dataset("bomb", shape=(2**31, 2**31, 4), dtype="f4", chunks=(1, 1, 1))
    assert count_parameters(file, ModelFormat.KERAS_H5) is None


def test_weights_alone_tell_nothing_of_a_model(tmp_path, options):
    with h5py.File(tmp_path / "m.h5", "w") as opened:
        opened["a"] = np.zeros(3)
    assert count_parameters(tmp_path / "m.h5", ModelFormat.KERAS_H5) is None
    with pytest.raises(ModelFailedError):
        examine(tmp_path / "m.h5", options)


@pytest.mark.usefixtures("keras")
def test_layers_models_of_tensorflow_js_are_examined_as_keras(options, tmp_path):
    topology = {"model_config": model(layer("Dense", module=None), layer("Lambda", module=None))}
    weights = [
        {"name": "dense/kernel", "dtype": "float32", "shape": [4, 3]},
        {
            "name": "dense/bias",
            "dtype": "float32",
            "shape": [3],
            "quantization": {"dtype": "uint8", "scale": 1, "min": 0},
        },
        {"name": "momentum", "dtype": "float32", "shape": [4, 3], "group": "optimizer"},
    ]
    document = {"modelTopology": topology, "weightsManifest": [{"paths": ["w.bin"], "weights": weights}]}
    (tmp_path / "model.json").write_text(json.dumps(document), encoding="utf-8")
    contents = examine(tmp_path / "model.json", options)
    assert contents.operations == {"Dense": 1, "Lambda": 1}
    assert contents.parameters == 15
    assert [finding.subject for finding in contents.findings] == ["Lambda"]
