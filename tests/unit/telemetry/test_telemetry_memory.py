import ctypes

import numpy as np
import psutil
import pytest

from tensorhost.telemetry import memory


@pytest.fixture
def no_glibc(monkeypatch):
    class Bare:
        pass

    memory._allocator_query.cache_clear()
    memory._allocator_trim.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Bare())
    yield
    memory._allocator_query.cache_clear()
    memory._allocator_trim.cache_clear()


def test_memory_is_plausible():
    usage = memory.process_memory()
    assert 2**20 < usage.rss < psutil.virtual_memory().total
    assert 0 < usage.heap_used <= usage.heap_total


def test_heap_grows_with_what_is_allocated():
    before = memory.process_memory()
    block = np.ones(64 * 2**20, np.uint8)
    after = memory.process_memory()
    assert after.rss - before.rss > 48 * 2**20
    assert after.heap_used - before.heap_used > 48 * 2**20
    del block


def test_without_glibc_the_heap_is_resident_memory(no_glibc):
    usage = memory.process_memory()
    assert usage.heap_total == usage.heap_used == usage.rss > 0


def test_trim_is_quiet_without_glibc(no_glibc):
    memory.trim()


def test_trim_never_raises_the_memory_held():
    memory.trim()
    held = memory.process_memory().heap_total
    memory.trim()
    assert memory.process_memory().heap_total <= held


def test_available_without_limits_is_what_the_machine_has(tmp_path):
    assert 0 < memory.available_memory_bytes(tmp_path) <= psutil.virtual_memory().total


@pytest.mark.parametrize(("usage", "available"), [("3000", 2000), ("7000", 0)])
def test_available_respects_a_limit_and_is_never_negative(tmp_path, usage, available):
    (tmp_path / "memory.max").write_text("5000")
    (tmp_path / "memory.current").write_text(usage)
    assert memory.available_memory_bytes(tmp_path) == available
