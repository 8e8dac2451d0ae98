"""Which batching is in force, of what the server, the model and the version say."""

from __future__ import annotations

import pytest
from model_fakes import FakeRuntime, signature
from pydantic import ValidationError

from tensorhost.core.errors import InvalidRequestError, MisconfiguredModelError, ModelFailedError
from tensorhost.models.batching import BatchSizes, batch_sizes, is_batched, pads_inputs, with_own_parameters
from tensorhost.models.config import BatchingConfig, ModelConfig, read_config
from tensorhost.models.overrides import first_runs, queue_options, warmup_options
from tensorhost.models.warmup import SignaturePlan, WarmupOptions, sample_sizes, warm_up
from tensorhost.settings import Settings, load_settings


def sizes(own=None, **settings):
    return batch_sizes(Settings(**settings), ModelConfig(batching=BatchingConfig(**own or {})))


@pytest.mark.parametrize(
    ("own", "settings", "expected"),
    [
        ({}, {}, BatchSizes(32, None, ())),
        ({}, {"split_large_requests": False}, BatchSizes(32, 32, ())),
        ({}, {"max_execution_batch_size": 8}, BatchSizes(8, 32, ())),
        ({}, {"max_execution_batch_size": 8, "split_large_requests": False}, BatchSizes(32, 32, ())),
        ({}, {"max_execution_batch_size": 64}, BatchSizes(32, 32, ())),
        ({}, {"allowed_batch_sizes": (4, 32)}, BatchSizes(32, None, (4, 32))),
        ({"max_batch_size": 6}, {"allowed_batch_sizes": (4, 8, 32)}, BatchSizes(6, None, (4, 6))),
        ({"allowed_batch_sizes": (32,)}, {"allowed_batch_sizes": (4, 32)}, BatchSizes(32, None, (32,))),
        ({"allowed_batch_sizes": ()}, {"allowed_batch_sizes": (4, 32)}, BatchSizes(32, None, ())),
        ({"split_large_requests": True}, {"split_large_requests": False}, BatchSizes(32, None, ())),
        ({"max_execution_batch_size": 4}, {"max_execution_batch_size": 8}, BatchSizes(4, 32, ())),
    ],
)
def test_limits(own, settings, expected):
    assert sizes(own, **settings) == expected


def test_the_model_has_the_last_word():
    on, off = ModelConfig(batching=BatchingConfig(enabled=True)), ModelConfig(batching=BatchingConfig(enabled=False))
    assert not is_batched(Settings(batching=False), ModelConfig())
    assert is_batched(Settings(batching=False), on)
    assert not is_batched(Settings(), off)
    filled_up = ModelConfig(batching=BatchingConfig(pad_variable_length_inputs=True))
    assert pads_inputs(Settings(), filled_up)
    assert not pads_inputs(Settings(), ModelConfig())


def test_everybody_is_told():
    settings = Settings(max_batch_size=16, max_execution_batch_size=8, allowed_batch_sizes="2, 8")
    config = ModelConfig(batching=BatchingConfig(pad_variable_length_inputs=True))
    options = queue_options(settings, config, SignaturePlan(batched=True))
    assert (options.max_batch_rows, options.max_request_rows, options.pads_inputs) == (8, 16, True)
    warmup = warmup_options(settings, config)
    assert (warmup.max_batch_rows, warmup.allowed_sizes) == (8, (2, 8))
    assert first_runs(settings, config, None).max_batch_rows == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"allowed_batch_sizes": (8, 4, 32)}, "must rise"),
        ({"allowed_batch_sizes": (8, 8, 32)}, "must rise"),
        ({"allowed_batch_sizes": (8, 16)}, "Last entry in allowed_batch_sizes must match max_batch_size"),
        ({"allowed_batch_sizes": (8, 32), "max_execution_batch_size": 8}, "last entry was 32; expected 8"),
        ({"allowed_batch_sizes": (0, 32)}, "greater than or equal to 1"),
        ({"allowed_batch_sizes": "8,x"}, "valid integer"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_name(settings, message):
    with pytest.raises(InvalidRequestError, match=message) as refused:
        load_settings(**settings)
    assert "allowed_batch_sizes" in refused.value.message


def test_the_same_in_model_toml(tmp_path):
    text = "[batching]\nmax_batch_size = 8\nallowed_batch_sizes = [2, 4]\n"
    (tmp_path / "model.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ModelFailedError, match=r"batching.allowed_batch_sizes: .*last entry was 4; expected 8"):
        read_config(tmp_path)
    text = "[batching]\nmax_batch_size = 8\nallowed_batch_sizes = [2, 8]\npad_variable_length_inputs = true\n"
    (tmp_path / "model.toml").write_text(text, encoding="utf-8")
    assert read_config(tmp_path).batching.allowed_batch_sizes == (2, 8)
    with pytest.raises(ValidationError):
        BatchingConfig(max_batch_size=8, max_execution_batch_size=4, allowed_batch_sizes=(8,))


def test_a_version_says_for_itself(tmp_path):
    (tmp_path / "batching_params.pbtxt").write_text(
        "max_batch_size { value: 16 } batch_timeout_micros: { value: 2500 },\n"
        "max_enqueued_batches { value: 3 } allowed_batch_sizes: 4 allowed_batch_sizes: 16 # sizes\n"
        "pad_variable_length_inputs: true num_batch_threads { value: 2 }",
        encoding="utf-8",
    )
    found = with_own_parameters(ModelConfig(description="kept", batching=BatchingConfig(enabled=False)), tmp_path)
    assert found.description == "kept"
    assert found.batching == BatchingConfig(
        enabled=True,
        max_batch_size=16,
        batch_timeout_ms=2.5,
        max_queue_rows=48,
        allowed_batch_sizes=(4, 16),
        pad_variable_length_inputs=True,
        split_large_requests=False,
    )


def test_a_version_without_the_file_is_not_batched(tmp_path):
    config = with_own_parameters(ModelConfig(batching=BatchingConfig(enabled=True)), tmp_path)
    assert not is_batched(Settings(), config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size { value: }", "batching_params.pbtxt: Error parsing text-format"),
        ("max_batch_size { value: 0 }", "batching_params.pbtxt is not valid: max_batch_size"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "last entry was 4; expected 8"),
        ("#" * 2**17, "larger than"),
    ],
)
def test_a_file_that_says_what_cannot_be_fails_the_version(tmp_path, text, message):
    (tmp_path / "batching_params.pbtxt").write_text(text, encoding="utf-8")
    with pytest.raises(MisconfiguredModelError, match=message):
        with_own_parameters(ModelConfig(), tmp_path)
    (tmp_path / "batching_params.pbtxt").write_bytes(b"\xff\xfe")
    with pytest.raises(MisconfiguredModelError, match="it is not UTF-8 text"):
        with_own_parameters(ModelConfig(), tmp_path)


def rows(contract, **changes):
    options = {"iterations": 1, "max_batch_rows": 8, "batching": True, "threshold_s": 1.0, "allowed_sizes": (3, 8)}
    runtime = FakeRuntime(lambda x: x * 2, contract)
    return warm_up(runtime, contract, WarmupOptions(**(options | changes))), runtime


def test_warm_up_times_the_sizes_that_calls_may_have_and_plans_to_fill_up():
    contract = signature((None, 4))
    plan, runtime = rows(contract)
    assert plan.batched
    assert sorted(plan.call_s) == [3, 8]
    assert [(span.above, span.to) for span in plan.padding] == [(0, 3), (3, 8)]
    options = WarmupOptions(1, 8, batching=True, threshold_s=1.0, allowed_sizes=(3, 8))
    assert sorted(sample_sizes(runtime, contract, options)) == [3, 8]


def test_what_is_not_batched_is_not_filled_up():
    plan, _ = rows(signature((4,)))
    assert not plan.batched
    assert sorted(plan.call_s) == [1]
    assert plan.padding == ()


async def test_a_versions_own_file_is_read_when_it_is_loaded(world, managed):
    for name, text in (("a", "max_batch_size { value: 4 }"), ("b", None), ("c", "nonsense")):
        folder = world.write(f"{name}/1")
        if text is not None:
            (folder / "batching_params.pbtxt").write_text(text, encoding="utf-8")
    manager = await managed(per_version_batching=True)
    servables = {name: manager.models()[name].versions["1"].servable for name in "ab"}
    assert servables["a"].queue("serving_default").options.max_batch_rows == 4
    assert servables["a"].loaded.plans["serving_default"].batched
    assert not servables["b"].loaded.plans["serving_default"].batched
    failed = manager.models()["c"].versions["1"]
    assert failed.servable is None
    assert "batching_params.pbtxt: Error parsing text-format" in failed.error.message
