from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_fakes import FakeRuntime, signature
from tests.unit.codecs.tensor_messages import tensor_bytes

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.tfrecords import frame
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, MisconfiguredModelError, ModelFailedError, OutOfMemoryError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.models.warmup_records import FILE, MOST_RECORDS, read_warmup_records, run_warmup_records

Log: Any = message_class("tensorflow.serving.PredictionLog")
Example: Any = message_class("tensorflow.Example")
ROWS = signature((None, 2))
EXAMPLES = Signature(
    "examples", {"inputs": TensorSpec("inputs", DType.STRING, (None,))}, {"y": TensorSpec("y", DType.FLOAT32, (None,))}
)
DEFAULT = TensorSpec("scale", DType.FLOAT32, ())
SCALED = Signature("scaled", {"x": ROWS.inputs["x"], "scale": DEFAULT}, ROWS.outputs)


class Recording(FakeRuntime):
    """Remembers what it was run with, and how."""

    def __init__(self, run=lambda inputs: None):
        super().__init__(run, ROWS, EXAMPLES, SCALED)
        self.seen: list[tuple[str, str, dict[str, Any]]] = []

    def run(self, signature, inputs, how="run"):
        self.seen.append((how, signature, dict(inputs)))
        self._run(inputs)
        return {}

    def run_loosely(self, signature, inputs):
        return self.run(signature, inputs, "run_loosely")


def predict(signature_name: str = "", model: str = "any", **inputs: Any) -> Any:
    log = Log()
    log.predict_log.request.model_spec.name = model
    log.predict_log.request.model_spec.signature_name = signature_name
    for name, value in inputs.items():
        data = tensor_bytes(np.asarray(value))
        log.predict_log.request.inputs[name].ParseFromString(data)
    return log


def on_examples(kind: str, signature_name: str, *names: str) -> Any:
    log = Log()
    request = getattr(log, kind).request
    request.model_spec.signature_name = signature_name
    for name in names:
        request.input.example_list.examples.append(example(name))
    return log


def example(name: str) -> Any:
    made = Example()
    made.features.feature[name].int64_list.value.append(1)
    return made


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / FILE).parent.mkdir()
    return tmp_path


def write(folder: Path, *logs: Any) -> None:
    (folder / FILE).write_bytes(b"".join(frame(log.SerializeToString()) for log in logs))


def run(folder: Path, runtime: FakeRuntime, iterations: int = 1, **defaults: Any) -> Any:
    return run_warmup_records(folder, runtime, defaults, iterations=iterations)


X = np.float32([[1, 2], [3, 4]])


def test_every_record_is_run_as_often_as_asked(folder):
    write(folder, predict(x=X), predict("serving_default", "another", x=X[:1]))
    runtime = Recording()
    outcome = run(folder, runtime, iterations=3)
    assert [(how, name, len(inputs["x"])) for how, name, inputs in runtime.seen] == [
        *[("run", "serving_default", 2)] * 3,
        *[("run", "serving_default", 1)] * 3,
    ]
    assert runtime.seen[0][2]["x"].tolist() == X.tolist()
    assert outcome.records == 2
    assert outcome.seconds >= 0


def test_examples_are_fed_to_the_one_input_of_their_signature(folder):
    multi = Log()
    for name in ("examples", "examples"):
        multi.multi_inference_log.request.tasks.add().model_spec.signature_name = name
    multi.multi_inference_log.request.input.example_list_with_context.examples.append(example("own"))
    multi.multi_inference_log.request.input.example_list_with_context.context.CopyFrom(example("shared"))
    write(folder, on_examples("classify_log", "examples", "a", "b"), on_examples("regress_log", "examples", "c"), multi)
    runtime = Recording()
    run(folder, runtime)
    seen = [
        [sorted(Example.FromString(each).features.feature) for each in inputs["inputs"]]
        for _, _, inputs in runtime.seen
    ]
    assert seen == [[["a"], ["b"]], [["c"]], [["own", "shared"]], [["own", "shared"]]]


def test_no_file_is_no_records(tmp_path):
    assert run(tmp_path, Recording()).records == 0
    (tmp_path / FILE).mkdir(parents=True)
    assert list(read_warmup_records(tmp_path)) == []


def test_a_record_that_says_nothing_is_passed_over(folder):
    write(folder, Log(), predict(x=X))
    runtime = Recording()
    assert run(folder, runtime).records == 2
    assert len(runtime.seen) == 1


def test_inputs_left_out_have_their_default_values(folder):
    write(folder, predict("scaled", x=X), predict("scaled", x=X, scale=np.float32(2)))
    runtime = Recording()
    run(folder, runtime, scaled={"scale": np.float32(7)})
    assert [float(inputs["scale"]) for _, _, inputs in runtime.seen] == [7, 2]


def test_shapes_that_the_signature_does_not_admit_are_the_models_business(folder):
    write(folder, predict(x=np.float32([1, 2, 3])))
    runtime = Recording()
    outcome = run(folder, runtime)
    assert runtime.seen[0][0] == "run_loosely"
    assert outcome.examples == {}


def test_the_first_rows_become_examples_for_the_proof(folder):
    write(folder, *[predict(x=X + np.float32(index)) for index in range(20)], predict(x=X[:0]))
    found = run(folder, Recording()).examples["serving_default"]
    assert [inputs["x"][0, 0] for inputs in found] == list(range(1, 9))


def test_records_that_take_much_memory_are_not_kept(folder):
    write(folder, *[predict(x=np.zeros((2**20, 2), np.float32))] * 3)
    assert len(run(folder, Recording()).examples["serving_default"]) == 2


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (predict("no_such", x=X), "signature 'no_such' is not there"),
        (predict(y=X), "Input 'x' is missing"),
        (predict(x=X, z=X), "There is no input 'z'"),
        (predict(x=X.astype(np.int32)), "Input 'x' must be float32, not int32"),
        (on_examples("classify_log", "scaled", "a"), "does not have examples as its one input"),
        (on_examples("classify_log", "", "a"), "Input 'x' must be float32"),
    ],
)
def test_a_record_that_does_not_fit_the_model_fails_with_its_index(folder, log, message):
    write(folder, predict(x=X), log)
    with pytest.raises(MisconfiguredModelError, match=rf"Warm-up record 1 \(\w+\) failed: .*{message}"):
        run(folder, Recording())


def test_a_record_that_the_model_refuses_fails_with_its_index(folder):
    def refuse(inputs):
        if inputs["x"].max() > 3:
            raise InvalidRequestError("The model refused the input: too large")

    write(folder, predict(x=X[:1]), predict(x=X), predict(x=X))
    runtime = Recording(refuse)
    with pytest.raises(ModelFailedError) as caught:
        run(folder, runtime)
    assert caught.value.message == "Warm-up record 1 (Predict) failed: The model refused the input: too large"
    assert not isinstance(caught.value, MisconfiguredModelError)
    assert len(runtime.seen) == 2


def test_a_record_that_takes_too_much_memory_may_be_tried_again(folder):
    def fail(_inputs):
        raise OutOfMemoryError("No memory.")

    write(folder, predict(x=X))
    with pytest.raises(OutOfMemoryError):
        run(folder, Recording(fail))


def huge() -> Any:
    log = predict(x=X)
    log.predict_log.request.inputs["x"].tensor_shape.dim[0].size = 2**40
    return log


def with_content() -> Any:
    log = predict(x=X)
    log.predict_log.request.inputs["x"].tensor_content = b"abc"
    return log


def session_run() -> Any:
    log = Log()
    log.session_run_log.request.fetch.append("y:0")
    return log


def streamed() -> Any:
    log = Log()
    log.predict_streamed_log.request.add()
    return log


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (huge(), "Input 'x' has more than"),
        (with_content(), "tensor parsing error: x"),
        (session_run(), "a session_run_log cannot be run"),
        (streamed(), "a predict_streamed_log cannot be run"),
        (on_examples("regress_log", "examples"), "Input is empty"),
    ],
)
def test_a_record_that_cannot_be_read_is_hopeless_and_named(folder, log, message):
    write(folder, predict(x=X), log)
    with pytest.raises(MisconfiguredModelError, match=f"Warm-up record 1 cannot be read: {message}"):
        run(folder, Recording())


def test_a_record_that_is_no_log_is_named(folder):
    (folder / FILE).write_bytes(frame(b"\xff\xff"))
    with pytest.raises(MisconfiguredModelError, match="Warm-up record 0 cannot be read: These bytes"):
        run(folder, Recording())


@pytest.mark.parametrize("data", [b"no records", b"x" * 100, frame(b"")[:-1]])
def test_a_file_that_is_no_tfrecord_file_says_so(folder, data):
    (folder / FILE).write_bytes(data)
    with pytest.raises(MisconfiguredModelError, match=r"Please verify your warmup data is in TFRecord format\."):
        run(folder, Recording())


def test_a_file_that_the_disk_does_not_give_may_be_tried_again(folder, monkeypatch):
    write(folder, predict(x=X))

    def refuse(*_args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelFailedError, match="The warm-up records cannot be read") as caught:
        run(folder, Recording())
    assert not isinstance(caught.value, MisconfiguredModelError)


def test_one_record_too_many_is_refused(folder):
    write(folder, *[predict(x=X[:1])] * (MOST_RECORDS + 1))
    runtime = Recording()
    with pytest.raises(MisconfiguredModelError, match=r"exceeds the maximum \(1000\)"):
        run(folder, runtime)
    assert len(runtime.seen) == MOST_RECORDS
