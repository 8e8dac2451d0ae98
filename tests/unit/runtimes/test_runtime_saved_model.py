from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import tf2_models

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ErrorCode, InvalidRequestError, ModelFailedError
from tensorhost.runtimes import load
from tensorhost.runtimes.tensorflow import frozen_graph, saved_model

BEST = "frozen graph, single-threaded session, prepared callable"


def test_answers_like_tensorflow_on_the_cheapest_path(tf, models, loaded):
    runtime = loaded(models / "half_plus_two")
    x = np.array([-3.0, 0.0, 5.5], np.float32)
    expected = tf.saved_model.load(str(models / "half_plus_two"))
    for name in ("serving_default", "plus_three"):
        assert runtime.call_path(name) == BEST
        wanted = expected.signatures[name](x=tf.constant(x))["y"].numpy()
        np.testing.assert_allclose(runtime.run(name, {"x": x})["y"], wanted, rtol=1e-5)


def test_gathering_from_variables_in_functions_is_frozen_and_right(tf, models, loaded, capfd):
    runtime = loaded(models / "embeddings")
    assert runtime.call_path("serving_default") == BEST
    assert "E0000" not in capfd.readouterr().err
    ids = np.array([0, 299, 7, 7], np.int64)
    expected = tf.saved_model.load(str(models / "embeddings")).signatures["serving_default"](ids=tf.constant(ids))
    answer = runtime.run("serving_default", {"ids": ids})
    assert answer.keys() == {"half", "nested_half", "nested_single", "batched", "looped"}
    for name, array in answer.items():
        assert array.dtype == expected[name].numpy().dtype
        np.testing.assert_array_equal(array, expected[name].numpy())
    assert runtime.run("serving_default", {"ids": ids[:0]})["batched"].shape == (2, 0, 5)
    # Which of the gathering operations refuses first is up to TensorFlow, and so are the words.
    for wrong in (-1, 300):
        with pytest.raises(InvalidRequestError, match=rf"= \[?{wrong}\]? (is not in|does not index into)"):
            runtime.run("serving_default", {"ids": np.array([wrong], np.int64)})


def test_signatures_are_read_with_the_default_first(models, loaded):
    runtime = loaded(models / "half_plus_two")
    assert list(runtime.signatures) == ["serving_default", "plus_three"]
    signature = runtime.signatures["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.inputs["x"].dtype is DType.FLOAT32
    assert signature.inputs["x"].shape == (None,)
    assert list(signature.outputs) == ["y"]


def test_weights_are_counted(models, loaded):
    assert 8 <= loaded(models / "half_plus_two").weights_bytes <= 16


def test_state_is_kept_between_calls_and_shared_by_signatures(models, loaded):
    runtime = loaded(models / "counter")
    by = np.array([1, 0, 2], np.int32)
    answers = [runtime.run("serving_default", {"by": by})["total"] for _ in range(3)]
    assert [answer.tolist() for answer in answers] == [[1, 0, 2], [2, 0, 4], [3, 0, 6]]
    assert runtime.run("peek", {})["total"].tolist() == [3, 0, 6]
    assert runtime.call_path("serving_default").startswith("graph with variables, single-threaded session")


def test_strings_and_tables(models, loaded):
    runtime = loaded(models / "strings")
    out = runtime.run("serving_default", {"text": np.array([b"a", "b", b"\xff"], object)})
    assert out["id"].tolist() == [1, 2, -1]
    assert out["upper"].dtype == object
    assert out["upper"].tolist() == [b"A", b"B", b"\xff"]
    assert out["first"].shape == ()
    assert out["first"].item() == b"A"
    assert runtime.call_path("serving_default") == BEST


def test_assets_fill_tables(models, loaded):
    runtime = loaded(models / "assets")
    assert runtime.run("serving_default", {"word": np.array([b"blue", b"red", b"?"], object)})["index"].tolist() == [
        2,
        0,
        3,
    ]
    assert runtime.call_path("serving_default") == BEST


def test_functional_loops_stay_on_the_cheapest_path(models, loaded):
    runtime = loaded(models / "loop")
    out = runtime.run("serving_default", {"x": np.ones(2, np.float32), "times": np.int32(5).reshape(())})
    assert out["y"].tolist() == [32.0, 32.0]
    assert runtime.call_path("serving_default") == BEST


@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 2)])
def test_unknown_rank(models, loaded, shape):
    runtime = loaded(models / "shapes")
    assert runtime.signatures["serving_default"].inputs["x"].shape is None
    assert (
        runtime.run("serving_default", {"x": np.full(shape, 2.0, np.float32)})["y"].tolist()
        == np.full(shape, 4.0).tolist()
    )


@pytest.mark.parametrize("name", tf2_models.CAST_DTYPES)
@pytest.mark.parametrize("rows", [0, 3])
def test_dtypes_pass_through(models, loaded, name, rows):
    dtype = DType(name)
    x = np.arange(rows).astype(dtype.numpy)
    out = loaded(models / "casts").run(f"as_{name}", {"x": x})
    assert out["same"].dtype == dtype.numpy
    assert out["same"].tolist() == x.tolist()
    assert out["twice"].tolist() == [*x.tolist(), *x.tolist()]


def test_tensorflow_1_signatures(tf, tf1_models, loaded):
    runtime = loaded(tf1_models / "half_plus_two")
    assert list(runtime.signatures) == ["serving_default", "classify", "echo", "regress"]
    assert runtime.signatures["classify"].method_name == "tensorflow/serving/classify"
    feature = tf.train.Features(feature={"x": tf.train.Feature(float_list=tf.train.FloatList(value=[3.0]))})
    examples = np.array([tf.train.Example(features=feature).SerializeToString()], object)
    assert runtime.run("serving_default", {"x": np.float32([1, 2])})["y"].tolist() == [2.5, 3.0]
    assert runtime.run("regress", {"inputs": examples})["outputs"].tolist() == [[3.5]]
    out = runtime.run("classify", {"inputs": examples})
    assert out["classes"].tolist() == [[b"odd"]]
    assert out["scores"].tolist() == [[3.5]]
    assert runtime.call_path("classify") == BEST


def test_an_output_may_be_the_input_itself(tf1_models, loaded):
    x = np.float32([1, 2])
    out = loaded(tf1_models / "half_plus_two").run("echo", {"x": x})
    assert out["x"].tolist() == out["again"].tolist() == [1.0, 2.0]
    assert not np.shares_memory(out["x"], x)


def test_old_control_flow_falls_back_to_the_default_executor(tf1_models, loaded):
    runtime = loaded(tf1_models / "control_flow")
    assert runtime.call_path("serving_default") == "frozen graph, session, prepared callable"
    assert runtime.run("serving_default", {"x": np.float32([1, 2])})["y"].tolist() == [8.0, 16.0]
    assert runtime.run("serving_default", {"x": np.float32([-1])})["y"].tolist() == [8.0]


def test_serve_is_chosen_among_graphs_and_the_only_graph_whatever_its_tag(tf1_models, loaded):
    for name in ("two_tags", "train_only"):
        assert loaded(tf1_models / name).run("serving_default", {"x": np.float32([2])})["y"].tolist() == [6.0]


def test_no_graph_to_serve_lists_the_tags(tf1_models, options):
    with pytest.raises(ModelFailedError, match="their tags are: train; eval"):
        load(tf1_models / "no_serve", options)


def test_unservable_signatures_are_left_out_with_their_reason(tf1_models, loaded):
    runtime = loaded(tf1_models / "unservable")
    assert list(runtime.signatures) == ["plain"]
    assert runtime.refused_signatures == {
        "quantised": "input 'x' has the element type qint8, which no request can carry",
        "sparse": "input 'x' is not a dense tensor",
    }
    assert runtime.run("plain", {"x": np.float32([2])})["y"].tolist() == [6.0]


def test_no_signature_at_all(models, options):
    with pytest.raises(ModelFailedError, match="no signature"):
        load(models / "nothing", options)


def test_a_model_that_refuses_its_input_blames_the_request(models, loaded):
    runtime = loaded(models / "shapes")
    with pytest.raises(InvalidRequestError) as caught:
        runtime.run("pick", {"index": np.int32([0, 7])})
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert "indices[1] = 7 is not in [0, 3)" in caught.value.message
    assert "{{" not in caught.value.message
    assert runtime.run("pick", {"index": np.int32([2])})["y"].tolist() == [3.0]


def test_a_failing_model_tells_no_path(models, loaded):
    with pytest.raises(ModelFailedError) as caught:
        loaded(models / "shapes").run("read", {"path": np.array([b"/nowhere/at/all"], object)})
    assert caught.value.message == "The model failed while running (not found)."
    assert "/nowhere/at/all" in (caught.value.log_detail or "")


def test_memory_that_runs_out_while_running_is_out_of_memory(models, loaded):
    runtime = loaded(models / "loop")
    runtime._calls["serving_default"]._run = lambda *_: (_ for _ in ()).throw(MemoryError)
    with pytest.raises(Exception, match="ran out of memory") as caught:
        runtime.run("serving_default", {"x": np.ones(1, np.float32), "times": np.int32(1)})
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY


@pytest.mark.parametrize("kept", [0, 1, 40, 0.5, 0.99])
def test_a_cut_graph_file_fails_cleanly(models, tmp_path, options, kept):
    shutil.copytree(models / "half_plus_two", tmp_path / "m")
    file = tmp_path / "m" / "saved_model.pb"
    content = file.read_bytes()
    file.write_bytes(content[: kept if isinstance(kept, int) else math.floor(len(content) * kept)])
    with pytest.raises(ModelFailedError) as caught:
        load(tmp_path / "m", options)
    assert str(tmp_path) not in caught.value.message


def test_random_bytes_fail_cleanly(tmp_path, options):
    (tmp_path / "saved_model.pb").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(ModelFailedError, match="damaged"):
        load(tmp_path, options)


@pytest.mark.parametrize("gone", ["variables.data-00000-of-00001", "variables.index"])
def test_missing_variables_fail_cleanly(models, tmp_path, options, gone):
    shutil.copytree(models / "half_plus_two", tmp_path / "m")
    (tmp_path / "m" / "variables" / gone).unlink()
    with pytest.raises(ModelFailedError) as caught:
        load(tmp_path / "m", options)
    assert str(tmp_path) not in caught.value.message


def test_a_cut_shard_fails_cleanly(models, tmp_path, options):
    shutil.copytree(models / "pointwise", tmp_path / "m")
    shard = tmp_path / "m" / "variables" / "variables.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(ModelFailedError, match="cannot be loaded"):
        load(tmp_path / "m", options)


def test_a_missing_asset_is_named_as_such(models, tmp_path, options):
    shutil.copytree(models / "assets", tmp_path / "m")
    (tmp_path / "m" / "assets" / "vocabulary.txt").unlink()
    with pytest.raises(ModelFailedError, match="file the model needs is missing"):
        load(tmp_path / "m", options)


def test_an_unknown_operation_is_named(models, tmp_path, options):
    shutil.copytree(models / "strings", tmp_path / "m")
    file = tmp_path / "m" / "saved_model.pb"
    content = file.read_bytes()
    assert b"StringUpper" in content
    file.write_bytes(content.replace(b"StringUpper", b"StringUpped"))
    with pytest.raises(ModelFailedError, match="needs the operation StringUpped"):
        load(tmp_path / "m", options)


def test_too_large_to_freeze_keeps_its_variables(models, loaded, monkeypatch):
    monkeypatch.setattr(saved_model, "MAX_FROZEN_BYTES", 4)
    runtime = loaded(models / "half_plus_two")
    assert runtime.call_path("serving_default").startswith("graph with variables, single-threaded session")
    assert runtime.run("serving_default", {"x": np.float32([2])})["y"].tolist() == [3.0]


def test_reference_variables_unfrozen_run_on_the_default_executor(tf1_models, loaded, monkeypatch):
    monkeypatch.setattr(saved_model, "MAX_FROZEN_BYTES", 4)
    runtime = loaded(tf1_models / "half_plus_two")
    assert runtime.call_path("serving_default") == "graph with variables, session, prepared callable"
    assert runtime.run("serving_default", {"x": np.float32([1, 2])})["y"].tolist() == [2.5, 3.0]


def test_a_graph_that_will_not_freeze_is_served_with_variables(models, loaded, monkeypatch):
    def refuse(*_):
        raise ValueError("cannot")

    monkeypatch.setattr(saved_model, "_freeze", refuse)
    assert loaded(models / "half_plus_two").call_path("serving_default").startswith("graph with variables")


def test_without_the_private_call_an_ordinary_callable_serves(tf, models, loaded, monkeypatch):
    from tensorflow.python.client.session import BaseSession

    monkeypatch.delattr(BaseSession, "_make_callable_from_options")
    runtime = loaded(models / "half_plus_two")
    assert runtime.call_path("serving_default") == "frozen graph, single-threaded session, callable"
    assert runtime.run("serving_default", {"x": np.float32([2])})["y"].tolist() == [3.0]


def test_without_any_session_the_function_serves(models, loaded, monkeypatch):
    def refuse(*_args, **_options):
        raise RuntimeError("no session")

    monkeypatch.setattr(saved_model, "_load", refuse)
    runtime = loaded(models / "strings")
    assert runtime.call_path("serving_default") == "function call"
    out = runtime.run("serving_default", {"text": np.array([b"a"], object)})
    assert out["upper"].tolist() == [b"A"]
    assert out["id"].tolist() == [1]
    assert out["first"].dtype == object
    assert out["first"].item() == b"A"
    pick = loaded(models / "shapes")
    with pytest.raises(InvalidRequestError, match="refused the input"):
        pick.run("pick", {"index": np.int32([7])})


def test_frugal_sessions_answer_alike(models, loaded, monkeypatch):
    monkeypatch.setattr(frozen_graph, "FRUGAL_FROM_BYTES", 0)
    runtime = loaded(models / "half_plus_two")
    assert runtime.run("serving_default", {"x": np.float32([2])})["y"].tolist() == [3.0]
    assert runtime.call_path("serving_default") == BEST
