from types import SimpleNamespace

from tensorhost.core.errors import ErrorCode
from tensorhost.telemetry.stages import stages
from tensorhost.telemetry.traces import CallTrace, RunTrace

FAILED, LATE, CANCELLED = ErrorCode.MODEL_FAILED, ErrorCode.DEADLINE_EXCEEDED, ErrorCode.CANCELLED


def run(*calls, begun_at=10.0, preprocessing_s=1.0, queue_s=0.0, complete=True, ended_at=None, error=None):
    """A run; calls as begin and end, told apart by the begin."""
    made = RunTrace(begun_at=begun_at, preprocessing_s=preprocessing_s, queue_s=queue_s, ended_at=ended_at)
    for began, ended in calls:
        made.took_part(CallTrace(SimpleNamespace(span_id=began), began, ended), 1, error, is_complete=complete)
    return made


def found(*runs, now=20.0, error=None):
    return [(stage.name, stage.started_at, stage.ended_at, stage.error) for stage in stages(runs, now, error)]


def test_a_run_that_succeeds():
    done = run((12.0, 14.0), queue_s=1.0, ended_at=15.0)
    done.postprocessing_s = 0.5
    assert found(done) == [
        ("preprocessing", 10.0, 11.0, None),
        ("queue", 11.0, 12.0, None),
        ("inference", 12.0, 14.0, None),
        ("postprocessing", 14.5, 15.0, None),
    ]


def test_a_run_without_rows_has_no_call():
    assert [name for name, *_ in found(run(ended_at=12.0))] == ["preprocessing", "postprocessing"]


def test_a_step_that_fails_before_the_model():
    assert found(run(preprocessing_s=0.0), error=ErrorCode.INVALID_PREPROCESSING) == [
        ("preprocessing", 10.0, 20.0, ErrorCode.INVALID_PREPROCESSING)
    ]


def test_what_the_signature_does_not_take_never_waited():
    assert found(run(), error=ErrorCode.INVALID_INPUT_SHAPE) == [("preprocessing", 10.0, 11.0, None)]


def test_a_deadline_while_waiting():
    assert found(run(), error=LATE)[1:] == [("queue", 11.0, 20.0, LATE)]


def test_a_deadline_while_the_call_runs():
    assert found(run(queue_s=2.0), error=LATE)[1:] == [("queue", 11.0, 13.0, None), ("inference", 13.0, 20.0, LATE)]


def test_a_deadline_between_two_calls():
    waits = run((12.0, 14.0), queue_s=1.0, complete=False)
    assert found(waits, error=LATE)[1:] == [("queue", 11.0, 12.0, None), ("inference", 12.0, 20.0, LATE)]


def test_a_model_that_fails():
    failed = run((12.0, 14.0), queue_s=1.0, error=FAILED)
    assert found(failed, error=FAILED)[1:] == [("queue", 11.0, 12.0, None), ("inference", 12.0, 14.0, FAILED)]


def test_a_step_that_fails_behind_the_model():
    assert found(run((12.0, 14.0)), error=CANCELLED)[2:] == [
        ("inference", 12.0, 14.0, None),
        ("postprocessing", 14.0, 20.0, CANCELLED),
    ]


def test_several_runs_are_spanned_and_calls_they_share_named_once():
    first, second = run((12.0, 14.0), ended_at=15.0), run((12.0, 14.0), (15.0, 16.0), begun_at=10.5, ended_at=17.0)
    merged = stages([first, second], 20.0, None)
    assert [(stage.started_at, stage.ended_at) for stage in merged[:3]] == [(10.0, 11.5), (11.0, 12.0), (12.0, 16.0)]
    assert [call.span_id for call in merged[2].calls] == [12.0, 15.0]


def test_no_runs_have_no_stages():
    assert found(error=FAILED) == []
