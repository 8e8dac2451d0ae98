import sys

import pytest

from tensorhost.core.errors import InvalidRequestError
from tensorhost.server.workers import count
from tensorhost.server.workers.count import count_for, worker_count
from tensorhost.settings import Settings

GIB, MIB = 2**30, 2**20


@pytest.mark.parametrize(
    ("cores", "sizes", "available", "expected"),
    [
        (4, [MIB, 2 * MIB], 64 * GIB, 4),
        (4, [], 64 * GIB, 4),
        (1, [MIB], 64 * GIB, 1),
        (4, [MIB, 9 * MIB], 64 * GIB, 1),
        (4, [MIB], 2 * GIB, 2),
        (4, [MIB], 0, 1),
        (64, [MIB], 512 * GIB, 8),
    ],
)
def test_auto_is_a_worker_per_core_for_small_models_as_far_as_memory_allows(cores, sizes, available, expected):
    assert count_for(cores, sizes, available) == expected


def test_a_number_is_that_number_and_auto_looks_at_the_models(tmp_path, monkeypatch):
    if sys.platform != "linux":  # there is one worker only
        return
    assert worker_count(Settings(workers=3)) == 3
    monkeypatch.setattr(count, "usable_cores", lambda: 4)
    monkeypatch.setattr(count, "available_memory_bytes", lambda: 64 * GIB)
    assert worker_count(Settings(workers="auto", model_path=tmp_path)) == 4
    (tmp_path / "large.keras").write_bytes(b"x" * (9 * MIB))
    assert worker_count(Settings(workers="auto", model_path=tmp_path)) == 1
    assert worker_count(Settings(workers="auto", model_path=tmp_path / "missing")) == 4


def test_elsewhere_there_is_one(monkeypatch):
    monkeypatch.setattr(count, "SUPPORTED", False)
    assert worker_count(Settings(workers="auto")) == 1
    assert worker_count(Settings(workers=1)) == 1
    with pytest.raises(InvalidRequestError, match="need Linux"):
        worker_count(Settings(workers=2))
