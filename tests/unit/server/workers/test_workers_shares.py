from pathlib import Path

from tensorhost.server.workers.shares import scratch_folder, worker_settings
from tensorhost.settings import Settings


def test_the_memory_budget_is_divided_and_nothing_else_is_changed():
    settings = Settings(memory_budget="3GiB", max_in_flight=7, cache_size="1GiB")
    one = worker_settings(settings, 3, Path())
    assert one.memory_budget == 2**30
    assert one.model_dump() | {"memory_budget": settings.memory_budget} == settings.model_dump()
    unlimited = Settings(cache_size="1GiB")
    assert worker_settings(unlimited, 3, Path()) == unlimited


def test_where_nothing_is_kept_the_workers_share_a_folder_for_as_long_as_the_server_lives():
    settings = Settings(cache_size=0)
    with scratch_folder(settings) as scratch:
        one = worker_settings(settings, 2, Path(scratch))
        assert one.cache_dir == Path(scratch)
        assert Path(scratch).is_dir()
        assert one.cache_size > 0
    assert not Path(scratch).exists()
    with scratch_folder(Settings(cache_size="1GiB")) as scratch:
        assert scratch == ""
