"""Files made by an attacker: nothing of theirs runs, nothing of this machine is read, memory is not swamped."""

from __future__ import annotations

import tracemalloc
import warnings
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
from keras_archives import first_dataset, layers_of, with_configuration, with_weights
from test_runtime_keras_legacy import ARCHIVE

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes import load

FILES = ["new.keras", "new.h5", "old.keras", "old.h5"]
ALLOW = "--allow-lambda"


@pytest.fixture(scope="session")
def harmless(keras, tmp_path_factory):
    """The same small model by Keras 3 (new) and by Keras 2 (old) in both formats; one Dense layer each."""
    root = tmp_path_factory.mktemp("harmless")
    model = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2, activation="relu", name="last")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(root / "new.keras")
        model.save(root / "new.h5")
    with zipfile.ZipFile(ARCHIVE) as archive:
        for suffix in ("keras", "h5"):
            (root / f"old.{suffix}").write_bytes(archive.read(f"sentences.{suffix}"))
    return root


def set_activation(value):
    def change(configuration):
        for layer in layers_of(configuration, "Dense"):
            layer["config"]["activation"] = value

    return change


@pytest.mark.parametrize("name", FILES)
def test_the_unchanged_files_load(harmless, options, name):
    load(harmless / name, options).close()


def python_function(keras, marker):
    """An attacker's function, as Keras stores it: it makes a file and passes its input on."""
    from keras.src.utils.python_utils import func_dump

    code = compile(f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]", "<attack>", "eval").co_consts[0]
    return func_dump(type(func_dump)(code, {}))


def with_lambda(keras, marker, name):
    dumped = python_function(keras, marker)
    code = {"code": dumped[0], "defaults": dumped[1], "closure": dumped[2]} if isinstance(dumped, tuple) else dumped

    def change(configuration):
        for layer in layers_of(configuration, "Dense"):
            layer["class_name"] = "Lambda"
            function = {"class_name": "__lambda__", "config": code}
            settings = {"name": "attack", "trainable": True, "dtype": "float32", "function": function, "arguments": {}}
            if name == "old.h5":
                settings["function"] = list(code.values())
                settings |= {"function_type": "lambda", "module": "__main__", "output_shape": None,
                             "output_shape_type": "raw", "output_shape_module": None}  # fmt: skip
            layer["config"] = settings
            layer.pop("build_config", None)

    return change


@pytest.fixture
def attacked(keras, harmless, tmp_path):
    def make(name):
        marker = tmp_path / "attacked"
        file = with_configuration(harmless / name, tmp_path / name, with_lambda(keras, marker, name))
        return without_last_weights(file, tmp_path / f"small-{name}"), marker

    return make


def without_last_weights(source, target):
    def change(file):
        for path in ("layers/dense/vars/0", "layers/dense/vars/1"):
            file.pop(path, None)
        weights = file.get("model_weights", {})
        for layer in weights:
            if layer.startswith(("dense", "last")):
                weights[layer].attrs["weight_names"] = np.array([], "S1")

    return with_weights(source, target, change)


@pytest.mark.parametrize("name", FILES)
def test_a_lambda_is_refused_and_does_not_run(attacked, options, name):
    file, marker = attacked(name)
    with pytest.raises(UnsupportedModelError, match=ALLOW) as caught:
        load(file, options)
    assert "'attack'" in caught.value.message
    assert not marker.exists()


@pytest.mark.parametrize("name", FILES)
def test_the_operator_may_allow_a_lambda_and_only_for_that_load(attacked, options, name):
    from keras.src.saving.serialization_lib import in_safe_mode

    file, marker = attacked(name)
    load(file, replace(options, allow_lambda=True)).close()
    assert marker.exists()
    marker.unlink()
    assert in_safe_mode() is None
    with pytest.raises(UnsupportedModelError, match=ALLOW):
        load(file, options)
    assert not marker.exists()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "function",
    [
        {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
        {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "exec"},
        {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"},
        {"module": "keras.config", "class_name": "function", "config": "enable_unsafe_deserialization",
         "registered_name": None},
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}, "registered_name": "Popen"},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/etc"}, "registered_name": None},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}, "registered_name": None},
        {"class_name": "__lambda__", "config": {"value": ["gASV", None, None]}},
        "os.system",
    ],
    ids=str,
)  # fmt: skip
def test_code_by_name_is_refused_before_keras_sees_it(harmless, tmp_path, options, monkeypatch, keras, name, function):
    file = with_configuration(harmless / name, tmp_path / name, set_activation(function))

    def never(*_arguments, **_settings):
        raise AssertionError("Keras was given the configuration")

    if function != "os.system":  # a plain text names nothing but an activation of that name
        monkeypatch.setattr(keras.saving, "load_model", never)
        monkeypatch.setattr(keras.saving, "deserialize_keras_object", never)
    with pytest.raises(ModelFailedError) as caught:
        load(file, options)
    assert "AssertionError" not in (caught.value.log_detail or "")
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("name", FILES)
def test_a_vocabulary_is_not_read_from_this_machine(harmless, tmp_path, options, name):
    secret = tmp_path / "secret.txt"
    secret.write_text("password")

    def change(configuration):
        for layer in layers_of(configuration, "Dense"):
            layer["class_name"] = "StringLookup"
            layer["config"] = {"name": "spy", "vocabulary": str(secret)}

    file = with_configuration(harmless / name, tmp_path / name, change)
    with pytest.raises(UnsupportedModelError, match="from a file of this machine"):
        load(file, options)


def external_link(file, other):
    name = first_dataset(file)
    del file[name]
    file[name] = h5py.ExternalLink(str(other), "/secret")


def soft_link(file, _other):
    name = first_dataset(file)
    file.move(name, "elsewhere")
    file[name] = h5py.SoftLink("/elsewhere")


def external_data(file, other):
    name = first_dataset(file)
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape, dtype, external=[(str(other), 0, h5py.h5f.UNLIMITED)])


def virtual_data(file, other):
    name = first_dataset(file)
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    layout = h5py.VirtualLayout(shape, dtype)
    layout[:] = h5py.VirtualSource(str(other), "/secret", shape, dtype)
    file.create_virtual_dataset(name, layout)


def shape_bomb(file, _other):
    name = first_dataset(file)
    del file[name]
    file.create_dataset(name, (2**20, 2**12), "f4", chunks=(2**10, 2**10), compression="gzip")


def compression_bomb(file, _other):
    name = first_dataset(file)
    del file[name]
    file.create_dataset(name, data=np.zeros((2**13, 2**13), "f4"), chunks=(2**10, 2**10), compression="gzip")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_link, "link to another place or file"),
        (soft_link, "link to another place or file"),
        (external_data, "takes data from other files"),
        (virtual_data, "takes data from other files"),
        (shape_bomb, "would unpack to more than"),
        (compression_bomb, "would unpack to more than"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_weights_lead_nowhere_and_stay_small(harmless, tmp_path, options, name, change, message):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as secret:
        secret["secret"] = np.arange(100, dtype="f4")
    file = with_weights(harmless / name, tmp_path / name, lambda opened: change(opened, other))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFailedError, match=message) as caught:
            load(file, options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * 2**20
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("registered", ["tests>Doubled", "Doubled"])  # the second was not registered when it was saved
@pytest.mark.parametrize("name", FILES)
def test_a_class_is_used_when_the_operator_registered_it(keras, harmless, tmp_path, options, name, registered):
    @keras.saving.register_keras_serializable("tests")
    class Doubled(keras.layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    def change(configuration):
        for layer in layers_of(configuration, "Dense"):
            layer |= {"module": "trainer", "class_name": "Doubled", "registered_name": registered}
            if name == "old.h5":
                layer["class_name"] = registered
                del layer["module"], layer["registered_name"]
            for key in [key for key in layer["config"] if key.endswith(("_initializer", "_constraint"))]:
                del layer["config"][key]

    def moved(file):  # archives keep weights under the name of the class
        if "layers/dense" in file:
            file.move("layers/dense", "layers/doubled")

    changed = with_configuration(harmless / name, tmp_path / name, change)
    file = with_weights(changed, tmp_path / f"moved-{name}", moved)
    plain, doubled = load(harmless / name, options), load(file, options)
    spec = next(iter(plain.signatures["serving_default"].inputs.values()))
    x = {spec.name: np.ones((2, *spec.shape[1:]), np.float32)}
    (one,), (two,) = (runtime.run("serving_default", x).values() for runtime in (plain, doubled))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-5, atol=1e-6)
    plain.close()
    doubled.close()
    del keras.saving.get_custom_objects()["tests>Doubled"]
    with pytest.raises(UnsupportedModelError, match="by --import or by imports") as caught:
        load(file, options)
    assert "Doubled" in caught.value.message
