"""Limits of control groups, at whatever level and in whichever version they are set."""

from __future__ import annotations

import pytest

from tensorhost.telemetry.control_groups import memory_left_bytes, processor_quota


@pytest.fixture
def groups(tmp_path):
    """A mount of control groups with nothing in it, and the file that names the process's group."""
    (tmp_path / "mount").mkdir()
    return tmp_path / "mount", tmp_path / "membership"


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")


def test_nothing_to_read_limits_nothing(groups):
    assert memory_left_bytes(*groups) is None
    assert processor_quota(*groups) is None


def test_a_container_finds_its_own_limits_at_the_root(groups):
    mount, membership = groups
    membership.write_text("0::/\n")
    write(mount, memory__max="5000\n", memory__current="3000\n", memory__stat="anon 9\ninactive_file 500\n")
    write(mount, cpu__max="150000 100000\n")
    assert memory_left_bytes(*groups) == 2500
    assert processor_quota(*groups) == 1.5


def test_the_root_counts_where_the_path_is_one_of_outside(groups):
    mount, membership = groups
    membership.write_text("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n")
    write(mount / "memory", memory__limit_in_bytes="5000", memory__usage_in_bytes="3000")
    write(mount / "memory", memory__stat="inactive_file 7\ntotal_inactive_file 100\n")
    write(mount / "cpu", cpu__cfs_quota_us="50000\n", cpu__cfs_period_us="100000\n")
    assert memory_left_bytes(*groups) == 2100
    assert processor_quota(*groups) == 0.5


def test_a_service_finds_its_limits_where_its_group_is(groups):
    mount, membership = groups
    membership.write_text("0::/system.slice/tensorhost.service\n")
    write(mount / "system.slice" / "tensorhost.service", memory__max="5000", memory__current="1000")
    write(mount / "system.slice" / "tensorhost.service", cpu__max="200000 100000")
    assert memory_left_bytes(*groups) == 4000
    assert processor_quota(*groups) == 2.0


def test_the_least_of_all_levels_counts(groups):
    mount, membership = groups
    membership.write_text("0::/pod/container\n")
    write(mount / "pod", memory__max="9000", memory__current="8500", cpu__max="100000 100000")
    write(mount / "pod" / "container", memory__max="5000", memory__current="1000", cpu__max="400000 100000")
    assert memory_left_bytes(*groups) == 500
    assert processor_quota(*groups) == 1.0


def test_what_is_used_beyond_the_limit_is_below_zero(groups):
    write(groups[0], memory__max="1000", memory__current="3000")
    assert memory_left_bytes(*groups) == -2000


def test_no_limit_in_a_group_is_no_limit(groups):
    mount, _ = groups
    write(mount, memory__max="max\n", memory__current="3000\n", cpu__max="max 100000\n")
    write(mount / "cpu", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert memory_left_bytes(*groups) is None
    assert processor_quota(*groups) is None


def test_a_group_outside_of_what_can_be_seen_is_not_looked_for(groups):
    mount, membership = groups
    membership.write_text("0::/../sibling\n")
    write(mount.parent / "sibling", cpu__max="100000 100000")
    assert processor_quota(*groups) is None


@pytest.mark.parametrize("text", ["", "many", "1 2 3", "0 0", "100000 0", "\xff"])
def test_unreadable_files_are_ignored(groups, text):
    mount, membership = groups
    membership.write_text(text, encoding="utf-8")
    write(mount, memory__max=text, memory__stat=text, cpu__max=text)
    write(mount / "cpu", cpu__cfs_quota_us=text, cpu__cfs_period_us=text)
    assert memory_left_bytes(*groups) is None
    assert processor_quota(*groups) is None
