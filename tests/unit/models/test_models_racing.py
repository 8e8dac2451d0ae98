"""Races in real child processes: whoever computes the same may win, whoever fails or ends the process loses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_fakes import FakeRuntime, signature

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError, ModelFailedError, OutOfMemoryError, ShuttingDownError
from tensorhost.core.ids import ModelId
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.models import racing, trials
from tensorhost.models.comparison import compare
from tensorhost.models.probe import FirstRuns, Prober
from tensorhost.models.probe_messages import ProbeRequest, Stage
from tensorhost.models.probe_trial import ModelCrashedError
from tensorhost.models.race_messages import HeatMessage, RaceOrder
from tensorhost.models.race_run import run_race
from tensorhost.models.trials import Trials
from tensorhost.models.warmup import WarmupOptions
from tensorhost.runtimes import LoadOptions, ModelFormat
from tensorhost.runtimes.base import Precision, RuntimeName
from tensorhost.runtimes.engine_files import EngineFile
from tensorhost.runtimes.race.verdict import Entrant, Heat
from tensorhost.settings import Settings

AUTO = LoadOptions(intra_op_threads=1, runtime=RuntimeName.AUTO)
OPENVINO, LITERT = (Entrant(name, Precision.FLOAT32) for name in (RuntimeName.OPENVINO, RuntimeName.LITERT))
WARMUP = WarmupOptions(iterations=1, max_batch_rows=4, batching=True, threshold_s=0)


# -- one heat, against runtimes that are made up --------------------------------------------------------------------


@pytest.fixture
def heat_of(monkeypatch, tmp_path):
    """Runs a heat between two functions of numpy arrays."""

    def run(own, other, *, entrant=LITERT, shape=(None, 2)):
        native, opened = (FakeRuntime(each, signature(shape)) for each in (own, other))
        engine = EngineFile("litert-0.tflite", {"x": "x"}, {"y": "y"})
        (tmp_path / engine.file).write_bytes(b"")
        monkeypatch.setattr(racing, "entrants", lambda _format, _options: [entrant])
        monkeypatch.setattr(racing, "write_engine", lambda *_: engine)
        monkeypatch.setattr(racing, "open_engine", lambda *_: opened)
        announced = []
        [heat] = racing.race(
            native,
            tmp_path,
            ModelFormat.SAVED_MODEL,
            {},
            WARMUP,
            AUTO,
            RaceOrder(tmp_path, 100.0),
            lambda name, entrant: announced.append((name, entrant)),
        )
        assert announced == [("serving_default", entrant)]
        assert opened.closed
        return heat, native, opened

    return run


def test_a_heat_is_compared_and_timed_at_the_sizes_to_come(heat_of):
    heat, native, opened = heat_of(lambda x: x * 2, lambda x: x + x)
    assert heat.refused == ""
    assert (heat.calls, heat.difference) == (5, 0.0)
    assert list(heat.call_s) == [1, 2, 4]
    assert all(own_s > 0 and other_s > 0 for own_s, other_s in heat.call_s.values())
    assert native.tuned == opened.tuned == [1, 2, 4]


def test_who_computes_something_else_is_refused_with_how_far_off(heat_of):
    heat, _, _ = heat_of(lambda x: x * 2, lambda x: x * np.float32(2.001))
    assert "off by up to" in heat.refused
    assert heat.call_s == {}


def test_rounding_is_no_difference(heat_of):
    heat, _, _ = heat_of(lambda x: x * 2, lambda x: x * np.float32(2.000004))
    assert heat.refused == ""
    assert 0 < heat.difference < 1e-5


def test_less_precision_is_let_through_and_its_difference_told(heat_of):
    bf16 = Entrant(RuntimeName.OPENVINO, Precision.BF16)
    heat, _, _ = heat_of(lambda x: x * 2, lambda x: x * np.float32(2.01), entrant=bf16)
    assert heat.refused == ""
    assert heat.difference > 1e-4


def test_less_precision_is_no_excuse_for_numbers_that_are_none(heat_of):
    bf16 = Entrant(RuntimeName.OPENVINO, Precision.BF16)
    heat, _, _ = heat_of(lambda x: x * 2, lambda x: x * np.float32(np.nan), entrant=bf16)
    assert "not finite" in heat.refused


def test_a_model_that_answers_anew_each_time_is_left_to_its_own_runtime(heat_of):
    rng = np.random.default_rng(0)
    heat, _, _ = heat_of(lambda x: rng.random(x.shape, np.float32), lambda x: rng.random(x.shape, np.float32))
    assert heat.refused == "The model gives another answer each time; only element types and shapes were compared."


def test_who_fails_a_call_is_refused(heat_of):
    def fails(x):
        raise ModelFailedError("It broke.")

    heat, _, _ = heat_of(lambda x: x, fails)
    assert "It broke." in heat.refused


def test_no_heat_begins_when_the_time_is_up(monkeypatch, tmp_path):
    native = FakeRuntime(lambda x: x, signature((None, 2)))
    monkeypatch.setattr(racing, "entrants", lambda _format, _options: [OPENVINO, LITERT])
    order = RaceOrder(tmp_path, -1.0, skip=(("serving_default", "openvino"),))
    heats = list(racing.race(native, tmp_path, ModelFormat.SAVED_MODEL, {}, WARMUP, AUTO, order, lambda *_: None))
    assert [(heat.entrant, "no time left" in heat.refused) for heat in heats] == [(LITERT, True)]


def test_what_differs_only_at_the_edges_is_found(monkeypatch, tmp_path):
    spec = {"x": TensorSpec("x", DType.UINT8, (None, 2))}
    own, other = lambda x: x + x, lambda x: np.minimum(x.astype(int) * 2, 255).astype(np.uint8)
    with pytest.raises(ModelFailedError, match="unusual values"):
        compare(*(FakeRuntime(each, Signature("serving_default", spec, {"y": spec["x"]})) for each in (own, other)),
                Signature("serving_default", spec, {"y": spec["x"]}), (), 1e-5, edges=True)  # fmt: skip


def test_who_answers_what_the_model_refuses_is_refused():
    spec = {"x": TensorSpec("x", DType.INT32, (None, 2))}
    made = Signature("serving_default", spec, {"y": spec["x"]})

    def own(x):
        if (x < 0).any() or (x > 100).any():
            raise InvalidRequestError("The model refused the input: out of range")
        return x

    with pytest.raises(ModelFailedError, match="one answers values that the other refuses"):
        compare(FakeRuntime(own, made), FakeRuntime(lambda x: x, made), made, (), 1e-5, edges=True)
    assert compare(FakeRuntime(own, made), FakeRuntime(own, made), made, (), 1e-5, edges=True).calls == 3
    ranged = compare(FakeRuntime(own, made), FakeRuntime(own, made), made, (), 1e-5, {"x": (0, 100)}, edges=True)
    assert ranged.calls == 4


# -- children that fail ---------------------------------------------------------------------------------------------


ENGINE = EngineFile("litert-0.tflite", {"x": "x"}, {"y": "y"})


class Children:
    """A prober whose children do as they are told: each attempt runs the heats that are left, up to a failure."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.orders = []

    def race(self, request, timeout_s, on_race):
        self.orders.append(request.race)
        failure = self.failures.pop(0) if self.failures else None
        for entrant in (OPENVINO, LITERT):
            if ("serving_default", entrant.label) in request.race.skip:
                continue
            if failure is not None and failure[0] is None:
                raise failure[1]
            on_race(Stage(doing="racing", signature="serving_default", entrant=entrant.label))
            if failure is not None and failure[0] is entrant:
                raise failure[1]
            on_race(HeatMessage.of(Heat("serving_default", entrant, ENGINE, {1: (2.0, 1.0)}, calls=3)))


def raced(children, tmp_path, monkeypatch):
    from tensorhost.models import race_run

    monkeypatch.setattr(race_run, "entrants", lambda _format, _options: [OPENVINO, LITERT])
    request = ProbeRequest(tmp_path, AUTO, FirstRuns(tmp_path))
    heats, children.problem = run_race(children, request, ModelFormat.SAVED_MODEL, tmp_path, 60.0)
    return [(heat.entrant.label, heat.refused) for heat in heats]


def test_who_ends_the_process_loses_and_the_others_still_run(tmp_path, monkeypatch):
    children = Children((OPENVINO, ModelCrashedError("The model crashed its runtime.")))
    assert raced(children, tmp_path, monkeypatch) == [("openvino", "The model crashed its runtime."), ("litert", "")]
    assert children.orders[1].skip == (("serving_default", "openvino"),)


def test_who_takes_too_much_memory_loses(tmp_path, monkeypatch):
    children = Children((LITERT, OutOfMemoryError("Too much.")))
    assert raced(children, tmp_path, monkeypatch) == [("openvino", ""), ("litert", "Too much.")]


def test_a_failure_that_is_nobodys_ends_the_race_and_not_the_load(tmp_path, monkeypatch):
    children = Children((None, ModelFailedError("No.")))
    assert raced(children, tmp_path, monkeypatch) == []
    assert children.problem == "No."


def test_a_server_that_stops_stops_the_race(tmp_path, monkeypatch):
    with pytest.raises(ShuttingDownError):
        raced(Children((LITERT, ShuttingDownError("Stop."))), tmp_path, monkeypatch)


# -- real models in real children -----------------------------------------------------------------------------------

DEMO = Path(trials.__file__).parents[1] / "demo" / "models"


@pytest.fixture
def run_trials(tmp_path):
    """Tries a model as a server does, with settings, and says how many children were asked."""
    asked = []

    class Counted(Prober):
        def probe(self, *args, **named):
            asked.append("probe")
            return super().probe(*args, **named)

        def race(self, *args, **named):
            asked.append("race")
            return super().race(*args, **named)

    def run(path, model_format=ModelFormat.SAVED_MODEL, options=AUTO, **settings):
        asked.clear()
        chosen = Settings(**({"cache_dir": tmp_path / "kept", "cache_size": 2**30} | settings))
        with Counted(100.0) as prober:
            made = Trials(prober, chosen)
            runs = FirstRuns(path.parent, max_batch_rows=4)
            tried = made.run(ModelId("m", "1"), path, model_format, options, runs, lambda _: None)
            made.close()
        return tried, list(asked)

    return run


def test_a_model_is_raced_once_and_then_known(run_trials):
    tried, asked = run_trials(DEMO / "digits" / "1")
    assert asked == ["probe", "race"]
    decision = tried.decisions["serving_default"]
    assert {heat.entrant.label for heat in decision.heats} == {"openvino", "litert", "onnxruntime"}
    by_label = {heat.entrant.label: heat for heat in decision.heats}
    assert by_label["litert"].refused == ""
    assert by_label["litert"].difference <= 1e-5 * max(by_label["litert"].scale, 1.0)
    assert "recurrent" in by_label["onnxruntime"].refused
    again, asked = run_trials(DEMO / "digits" / "1")
    assert asked == []
    assert again.decisions == tried.decisions
    assert again.report.probe_s == 0.0
    for entrant in decision.winners:
        assert (again.folder / decision.engine(entrant).file).is_file()


def test_a_text_model_is_not_raced_and_says_why(run_trials):
    tried, asked = run_trials(DEMO / "langid" / "1")
    assert asked == ["probe"]
    assert tried.needs_native
    assert "text" in tried.decisions["serving_default"].reason


def test_natively_nobody_is_asked_to_race(run_trials):
    tried, asked = run_trials(DEMO / "digits" / "1", options=LoadOptions(intra_op_threads=1))
    assert asked == ["probe"]
    assert tried.decisions == {}
    assert tried.needs_native


def test_what_was_lost_for_want_of_time_is_raced_again(run_trials, tmp_path):
    first, asked = run_trials(DEMO / "digits" / "1", race_timeout_s=0.01)
    assert asked == ["probe", "race"]
    assert first.needs_native
    assert not list((tmp_path / "kept").glob(".partial-*"))
    again, asked = run_trials(DEMO / "digits" / "1")
    assert asked == ["race"]
    assert {heat.transient for heat in again.decisions["serving_default"].heats} == {False}
    assert run_trials(DEMO / "digits" / "1")[1] == []


def test_files_that_change_while_they_are_tried_are_not_believed(run_trials, tmp_path, monkeypatch):
    import shutil

    model = tmp_path / "model"
    shutil.copytree(DEMO / "digits" / "1", model)
    race = trials.run_race

    def change(*args):
        outcome = race(*args)
        shutil.copy(DEMO / "digits" / "2" / "saved_model.pb", model)
        return outcome

    monkeypatch.setattr(trials, "run_race", change)
    with pytest.raises(ModelFailedError, match="changed while"):
        run_trials(model)
    assert not list((tmp_path / "kept").glob("*/trial.json"))
    assert not list((tmp_path / "kept").glob(".partial-*"))


def test_with_nothing_kept_it_is_tried_each_time(run_trials, tmp_path):
    native = LoadOptions(intra_op_threads=1)
    for _ in range(2):
        assert run_trials(DEMO / "digits" / "1", options=native, cache_size=0)[1] == ["probe"]
    assert not (tmp_path / "kept").exists()
