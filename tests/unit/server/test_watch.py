import pytest

from tensorhost.server.registry import Limits
from tensorhost.server.watch import Phase, Verdict, Watch

LIMITS = Limits(
    max_connections=1,
    max_header_bytes=1,
    max_body_bytes=1,
    max_buffered_body_bytes=1,
    header_timeout_s=10,
    body_timeout_s=60,
    keep_alive_timeout_s=75,
)


@pytest.mark.parametrize(
    ("phase", "time_s", "verdict"),
    [
        (Phase.IDLE, 75, Verdict.CLOSE),
        (Phase.HEAD, 10, Verdict.HEAD_LATE),
        (Phase.BODY, 60, Verdict.BODY_LATE),
        (Phase.PARTING, 1, Verdict.ABORT),
    ],
)
def test_each_phase_has_its_time(phase, time_s, verdict):
    watch = Watch(LIMITS, 0.0)
    watch.enter(phase, 100.0)
    assert watch.verdict(100.0 + time_s - 0.01, 0) is Verdict.KEEP
    assert watch.verdict(100.0 + time_s, 0) is verdict


def test_an_answer_may_take_any_time():
    watch = Watch(LIMITS, 0.0)
    watch.enter(Phase.WAITING, 0.0)
    assert watch.verdict(1e9, 0) is Verdict.KEEP


SHARE_BYTES = 60 * 65_536


def test_a_full_share_gives_a_body_time_again():
    watch = Watch(LIMITS, 0.0)
    watch.enter(Phase.BODY, 0.0)
    watch.body_arrived(SHARE_BYTES - 1, 30.0)
    watch.body_arrived(1, 59.0)
    assert watch.verdict(118.0, 0) is Verdict.KEEP
    assert watch.verdict(119.0, 0) is Verdict.BODY_LATE


def test_a_trickle_does_not_hold_a_body():
    watch = Watch(LIMITS, 0.0)
    watch.enter(Phase.BODY, 0.0)
    watch.body_arrived(10 * SHARE_BYTES, 5.0)
    for second in range(6, 65):
        watch.body_arrived(SHARE_BYTES // 60, float(second))
    assert watch.verdict(64.9, 0) is Verdict.KEEP
    assert watch.verdict(65.0, 0) is Verdict.BODY_LATE


def test_a_body_at_the_least_speed_may_take_any_time():
    watch = Watch(LIMITS, 0.0)
    watch.enter(Phase.BODY, 0.0)
    for half in range(1, 1000):
        watch.body_arrived(65_536 // 2 + 1000, half / 2)
        assert watch.verdict(half / 2, 0) is Verdict.KEEP


def test_each_body_owes_its_own_share():
    watch = Watch(LIMITS, 0.0)
    watch.enter(Phase.BODY, 0.0)
    watch.body_arrived(SHARE_BYTES - 1, 1.0)
    watch.enter(Phase.BODY, 2.0)
    watch.body_arrived(SHARE_BYTES - 1, 3.0)
    assert watch.verdict(62.0, 0) is Verdict.BODY_LATE


def test_progress_does_not_extend_the_total_of_parting():
    watch = Watch(LIMITS, 0.0)
    watch.enter(Phase.PARTING, 0.0)
    for tenth in range(1, 50):
        watch.progress(tenth / 10)
        assert watch.verdict(tenth / 10, 0) is Verdict.KEEP
    watch.progress(4.9)
    assert watch.verdict(5.0, 0) is Verdict.ABORT


def test_parting_begins_when_the_last_answer_is_out():
    watch = Watch(LIMITS, 0.0)
    watch.enter(Phase.PARTING, 0.0)
    for second in range(30):
        assert watch.verdict(float(second), 1000 - second) is Verdict.KEEP
    assert watch.verdict(29.9, 0) is Verdict.KEEP
    assert watch.verdict(30.0, 0) is Verdict.ABORT


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.PARTING])
def test_a_client_that_does_not_read_is_dropped(phase):
    watch = Watch(LIMITS, 0.0)
    watch.enter(phase, 0.0)
    verdicts = [watch.verdict(float(second), 1000) for second in range(62)]
    assert verdicts[:60] == [Verdict.KEEP] * 60
    assert verdicts[60] is Verdict.ABORT


def test_a_client_that_reads_a_little_is_kept():
    watch = Watch(LIMITS, 0.0)
    watch.enter(Phase.WAITING, 0.0)
    assert {watch.verdict(50.0 * step, 1000 - step) for step in range(100)} == {Verdict.KEEP}


@pytest.mark.parametrize(("shortest", "interval"), [(75.0, 1.0), (1.0, 0.2), (0.001, 0.01)])
def test_the_sweep_is_a_fraction_of_the_shortest_timeout(shortest, interval):
    limits = Limits(1, 1, 1, 1, header_timeout_s=shortest, body_timeout_s=75, keep_alive_timeout_s=75)
    assert limits.sweep_interval_s == pytest.approx(interval)
