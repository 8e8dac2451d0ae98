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


def write(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_available_without_limits_is_what_the_machine_has(tmp_path):
    assert 0 < memory.available_memory_bytes(tmp_path) <= psutil.virtual_memory().total


def test_available_respects_a_version_2_limit(tmp_path):
    write(tmp_path, memory_dot_max="5000\n", memory_dot_current="3000\n")
    write(tmp_path, memory_dot_stat="anon 9\ninactive_file 500\n")
    assert memory.available_memory_bytes(tmp_path) == 2500


def test_available_respects_a_version_1_limit(tmp_path):
    write(tmp_path, memory__memory_dot_limit_in_bytes="5000", memory__memory_dot_usage_in_bytes="3000")
    write(tmp_path, memory__memory_dot_stat="inactive_file 7\ntotal_inactive_file 100\n")
    assert memory.available_memory_bytes(tmp_path) == 2100


def test_no_limit_in_a_group_is_no_limit(tmp_path):
    write(tmp_path, memory_dot_max="max\n", memory_dot_current="3000\n")
    assert memory.available_memory_bytes(tmp_path) > 2**20


def test_available_is_never_negative(tmp_path):
    write(tmp_path, memory_dot_max="1000", memory_dot_current="3000")
    assert memory.available_memory_bytes(tmp_path) == 0


@pytest.mark.parametrize("text", ["", "many", "\xff"])
def test_unreadable_files_are_ignored(tmp_path, text):
    write(tmp_path, memory_dot_max=text, memory_dot_current=text, memory_dot_stat=text)
    assert memory.available_memory_bytes(tmp_path) > 2**20
