from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_fakes import FakeRuntime, probe_report, signature
from tests.unit.codecs.tensor_messages import tensor_bytes

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.tfrecords import frame
from tensorhost.core.errors import (
    ErrorCode,
    InvalidRequestError,
    MisconfiguredModelError,
    ModelFailedError,
    OutOfMemoryError,
)
from tensorhost.core.ids import ModelId
from tensorhost.models import loading
from tensorhost.models.config import ModelConfig
from tensorhost.models.loading import LoadRequest, as_failure, load_version
from tensorhost.models.repository import VersionOnDisk
from tensorhost.models.trials import Tried
from tensorhost.models.warmup import WarmupOptions
from tensorhost.models.warmup_records import FILE
from tensorhost.runtimes import Contents, LoadOptions, ModelFormat
from tensorhost.runtimes.base import Precision, RuntimeName
from tensorhost.runtimes.race.verdict import Decision, Entrant
from tensorhost.telemetry import MemoryUsage

ROWS = signature((None, 2))


@pytest.fixture
def attempt(tmp_path, monkeypatch):
    """Loads a runtime as the lifecycle would; ``**config`` is the model's model.toml."""
    monkeypatch.setattr(loading, "release_memory", lambda: None)
    monkeypatch.setattr(loading, "examine", lambda _path, _options: Contents())

    def load(runtime, on_warming=lambda: None, record_iterations=0, **config):
        monkeypatch.setattr(loading, "load", lambda _path, _options: runtime)
        files = VersionOnDisk("1", tmp_path / "1", ModelFormat.SAVED_MODEL, 1, 1.0)
        options = WarmupOptions(
            iterations=1, max_batch_rows=4, batching=True, threshold_s=1.0, record_iterations=record_iterations
        )
        config = ModelConfig(**config)
        return load_version(LoadRequest(ModelId("m", "1"), files, tmp_path, config, LoadOptions(), options), on_warming)

    return load


def test_a_loaded_version_has_a_plan_and_pipelines_for_every_signature(attempt):
    warming = []
    loaded = attempt(FakeRuntime(lambda x: x, ROWS, signature((3,), name="three")), lambda: warming.append(1))
    assert list(loaded.plans) == ["serving_default", "three"] == list(loaded.preprocessing)
    assert loaded.plans["serving_default"].batched
    assert not loaded.plans["three"].batched
    assert warming == [1]
    assert loaded.load_s >= 0


def write_record(tmp_path, values):
    log: Any = message_class("tensorflow.serving.PredictionLog")()
    tensor = tensor_bytes(np.float32(values))
    log.predict_log.request.inputs["x"].ParseFromString(tensor)
    (tmp_path / "1" / FILE).parent.mkdir(parents=True)
    (tmp_path / "1" / FILE).write_bytes(frame(log.SerializeToString()))


def test_recorded_requests_are_run_before_anything_else_and_are_its_examples(attempt, tmp_path):
    write_record(tmp_path, [[41, 42], [43, 44], [45, 46]])
    seen = []

    def only_records(x):
        seen.append(len(x))
        if x.min() < 41:
            raise InvalidRequestError("made up")
        return x

    loaded = attempt(FakeRuntime(only_records, ROWS), record_iterations=2)
    assert seen[:2] == [3, 3]
    assert loaded.plans["serving_default"].batched
    assert loaded.plans["serving_default"].warmed


def test_a_recorded_request_that_fails_fails_the_load(attempt, tmp_path):
    write_record(tmp_path, [[1, 2, 3]])
    runtime = FakeRuntime(lambda x: x, ROWS)
    runtime.run_loosely = lambda name, inputs: fails(InvalidRequestError("No such shape."))(inputs)
    with pytest.raises(ModelFailedError, match=r"Warm-up record 0 \(Predict\) failed: No such shape\."):
        attempt(runtime, record_iterations=1)
    assert runtime.closed


def test_recorded_requests_can_be_left_unread(attempt, tmp_path):
    write_record(tmp_path, [[1, 2, 3]])
    assert attempt(FakeRuntime(lambda x: x, ROWS)).plans["serving_default"].batched


def fails(error):
    def run(_x):
        raise error

    return run


def test_a_failing_default_signature_fails_the_load_and_closes_the_model(attempt):
    runtime = FakeRuntime(fails(ModelFailedError("It is broken.")), ROWS)
    with pytest.raises(ModelFailedError, match="It is broken"):
        attempt(runtime)
    assert runtime.closed


def test_another_signature_that_fails_does_not(attempt):
    def run(x):
        if x.shape[-1] == 3:
            raise ModelFailedError("It is broken.")
        return x

    loaded = attempt(FakeRuntime(run, ROWS, signature((None, 3), name="three")))
    assert loaded.plans["serving_default"].batched
    assert loaded.plans["three"].problem == "It is broken."
    assert not loaded.plans["three"].batched


@pytest.mark.parametrize("error", [KeyError("secret"), RecursionError(), ZeroDivisionError("secret")])
def test_whatever_goes_wrong_is_this_versions_failure_and_tells_no_client(attempt, error):
    runtime = FakeRuntime(fails(error), ROWS)
    with pytest.raises(ModelFailedError) as raised:
        attempt(runtime)
    assert raised.value.message == "The model could not be loaded."
    assert type(error).__name__ in raised.value.log_detail
    assert runtime.closed


def test_no_memory_left_is_out_of_memory(attempt):
    with pytest.raises(OutOfMemoryError):
        attempt(FakeRuntime(fails(MemoryError()), ROWS))


def test_a_failure_that_is_kept_holds_no_stack_frames():
    try:
        try:
            raise ValueError("the runtime's own")
        except ValueError as cause:
            raise ModelFailedError("It is broken.") from cause
    except ModelFailedError as error:
        kept = as_failure(error)
    assert (kept.__traceback__, kept.__cause__, kept.__context__) == (None, None, None)
    assert kept.message == "It is broken."


def test_memory_is_at_least_the_weights_and_not_blamed_without_limit(attempt, monkeypatch):
    rss = iter([0, 50, 0, 10**12])
    monkeypatch.setattr(loading, "process_memory", lambda: MemoryUsage(next(rss), 0, 0))
    assert attempt(FakeRuntime(lambda x: x, ROWS, weights_bytes=100)).memory_bytes == 100
    assert attempt(FakeRuntime(lambda x: x, ROWS, weights_bytes=100)).memory_bytes == 800 + 64 * 2**20


@pytest.mark.parametrize("table", ["preprocessing", "postprocessing"])
def test_steps_that_do_not_fit_are_the_models_fault(attempt, table):
    runtime = FakeRuntime(lambda x: x, ROWS)
    with pytest.raises(MisconfiguredModelError, match=r"^model\.toml does not fit the model: .*no_such_step") as raised:
        attempt(runtime, **{table: {"no_such_step": True}})
    assert raised.value.code is ErrorCode.MODEL_FAILED
    assert runtime.closed


def examples(folder: Path, text: str):
    (folder / "examples.json").write_text(text)
    return {"warmup": {"examples": "examples.json"}}


def test_shipped_examples_are_run(attempt, tmp_path):
    seen = []

    def run(x):
        seen.append(x.tolist())
        return x

    text = '[{"inputs": [[7, 8]]}, {"inputs": {"x": [[9, 8]]}, "signatureName": "serving_default"}]'
    loaded = attempt(FakeRuntime(run, ROWS), **examples(tmp_path, text))
    assert loaded.plans["serving_default"].batched
    assert seen[0] == [[7, 8]]
    assert np.isin(np.concatenate([np.ravel(rows) for rows in seen]), [7, 8, 9]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSON list"),
        ("7", "JSON list"),
        ("[7]", "JSON list"),
        ('[{"inputs": [[1, 2, 3]]}]', "JSON list"),
        ('[{"inputs": [[1, 2]], "signatureName": "other"}]', "a signature that the model does not have"),
        ('[{"inputs": [[1, 2]], "signatureName": ["other"]}]', "a signature that the model does not have"),
        ('[{"inputs": []}]', "xample"),
    ],
)
def test_bad_examples_fail_the_load_with_the_reason(attempt, tmp_path, text, message):
    runtime = FakeRuntime(lambda x: x, ROWS)
    with pytest.raises(ModelFailedError, match=message) as raised:
        attempt(runtime, **examples(tmp_path, text))
    assert "xample" in raised.value.message
    assert runtime.closed


def test_examples_never_come_from_outside_the_folder(attempt, tmp_path):
    with pytest.raises(ModelFailedError, match=r"warmup\.examples must name a file inside"):
        attempt(FakeRuntime(lambda x: x, ROWS), warmup={"examples": "../examples.json"})


def test_refused_values_in_an_example_are_its_fault(attempt, tmp_path):
    runtime = FakeRuntime(fails(InvalidRequestError("No sevens.")), ROWS)
    with pytest.raises(ModelFailedError, match="refused its own warm-up example: No sevens"):
        attempt(runtime, **examples(tmp_path, '[{"inputs": [[7, 7]]}]'))


def test_a_framework_is_imported_once_and_for_its_formats_only(monkeypatch):
    imported = []
    monkeypatch.setattr(loading, "prepare", lambda _options: imported.append("tensorflow"))
    monkeypatch.setattr(loading, "keras_module", lambda: imported.append("keras"))
    litert = (lambda: imported.append("litert"), threading.Event())
    monkeypatch.setattr(loading, "_PREPARE_OTHERS", loading._PREPARE_OTHERS | {RuntimeName.LITERT: litert})
    monkeypatch.setattr(loading.gc, "freeze", lambda: None)
    for kept in ("_tensorflow_kept", "_keras_kept"):
        monkeypatch.setattr(loading, kept, threading.Event())
    tflite, keras_file = ModelFormat.TFLITE, ModelFormat.KERAS
    for model_format in (tflite, ModelFormat.SAVED_MODEL, ModelFormat.KERAS_H5, keras_file, tflite, None):
        loading.prepare_runtime(model_format, LoadOptions())
    assert imported == ["litert", "tensorflow", "keras"]


WINNER = Entrant(RuntimeName.OPENVINO, Precision.FLOAT32)
DECISION = Decision(RuntimeName.TENSORFLOW, ((2**31, WINNER),))


@pytest.fixture
def decided(attempt, tmp_path, monkeypatch):
    """Loads a version that another runtime is to execute; says how often its form turned out to be of no use."""

    def load(winner, native, runtime=RuntimeName.AUTO, on_warming=lambda: None, **config):
        useless = []

        def load_decided(*_):
            if isinstance(winner, Exception):
                raise winner
            return winner

        monkeypatch.setattr(loading, "load_decided", load_decided)
        monkeypatch.setattr(loading, "load", lambda _path, _options: native)
        files = VersionOnDisk("1", tmp_path / "1", ModelFormat.SAVED_MODEL, 1, 1.0)
        request = LoadRequest(
            ModelId("m", "1"),
            files,
            tmp_path,
            ModelConfig(**config),
            LoadOptions(runtime=runtime),
            WarmupOptions(iterations=1, max_batch_rows=4, batching=True, threshold_s=1.0),
            Tried(probe_report(), {"serving_default": DECISION}),
            lambda: useless.append(1),
        )
        return load_version(request, on_warming), useless

    return load


def test_the_winner_executes_the_version(decided):
    winner, native = FakeRuntime(lambda x: x, ROWS), FakeRuntime(lambda x: x, ROWS)
    loaded, useless = decided(winner, native)
    assert loaded.runtime is winner
    assert loaded.decisions == {"serving_default": DECISION}
    assert (useless, native.calls) == ([], [])


@pytest.mark.parametrize(
    "winner", [ModelFailedError("Damaged."), FakeRuntime(fails(ModelFailedError("Broken.")), ROWS)]
)
def test_where_the_winner_comes_to_nothing_the_models_own_runtime_serves(decided, winner):
    native, warming = FakeRuntime(lambda x: x, ROWS), []
    loaded, useless = decided(winner, native, on_warming=lambda: warming.append(1))
    assert loaded.runtime is native
    assert loaded.decisions == {}
    assert (useless, warming) == ([1], [1])
    assert isinstance(winner, Exception) or winner.closed


def test_where_the_operator_named_the_winner_the_load_fails(decided):
    with pytest.raises(ModelFailedError, match="Damaged"):
        decided(ModelFailedError("Damaged."), FakeRuntime(lambda x: x, ROWS), RuntimeName.OPENVINO)


def test_settings_that_do_not_fit_are_not_the_winners_fault(decided):
    winner = FakeRuntime(lambda x: x, ROWS)
    with pytest.raises(MisconfiguredModelError):
        decided(winner, FakeRuntime(lambda x: x, ROWS), preprocessing={"tokenizer": "none.json"})
    assert winner.closed
