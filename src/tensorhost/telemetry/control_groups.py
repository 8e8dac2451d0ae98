"""What control groups allow this process: the memory and the processor time of a container or a service.

A limit may stand at any level: the container's, its pod's, the service's, a slice's. All that can be read from inside
count. What cannot be read limits nothing. Versions 1 and 2 are understood; elsewhere than on Linux there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")

_MEMORY = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""For each version: controller, limit, usage, and the key in ``memory.stat`` of cached pages not used of late."""


def memory_left_bytes(mount: Path = MOUNT, membership: Path = _MEMBERSHIP) -> int | None:
    """Bytes until the first limit is reached, which may be below zero; None where there is no limit.

    Args:
        mount: where the control groups are mounted.
        membership: the file that names the groups of this process.
    """
    left: list[int] = []
    for controller, limit_file, usage_file, reclaimable_key in _MEMORY:
        for group in _groups(controller, mount, membership):
            limit = _read_integer(group / limit_file)
            usage = _read_integer(group / usage_file)
            if limit is not None and usage is not None:
                # Cached file pages count as usage but are given up under pressure.
                left.append(limit - usage + _read_statistic(group / "memory.stat", reclaimable_key))
    return min(left, default=None)


def processor_quota(mount: Path = MOUNT, membership: Path = _MEMBERSHIP) -> float | None:
    """Cores' worth of processor time this process may use, such as 1.5; None where nothing limits it.

    Arguments as for ``memory_left_bytes``.
    """
    quotas = [
        *(_read_quota(group / "cpu.max") for group in _groups("", mount, membership)),
        *(_read_old_quota(group) for group in _groups("cpu", mount, membership)),
    ]
    return min((quota for quota in quotas if quota is not None), default=None)


def _groups(controller: str, mount: Path, membership: Path) -> Iterator[Path]:
    """The folders of this process's group and of those it is in, innermost first.

    Args:
        controller: of version 1, or empty for version 2.
        mount, membership: as for ``memory_left_bytes``.
    """
    root = mount / controller
    within = _membership(controller, membership).parts[1:]
    if ".." in within:  # of a group that cannot be seen from here
        within = ()
    for depth in range(len(within), 0, -1):
        yield root.joinpath(*within[:depth])
    # A container sees its own group as the root, whatever the path of it is outside.
    yield root


def _membership(controller: str, file: Path) -> Path:
    """The group's path from the root of its hierarchy; the root where it is not told."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return Path("/")
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(",") and path.startswith("/"):
            return Path(path)
    return Path("/")


def _read_quota(file: Path) -> float | None:
    """Of version 2: microseconds of each period, and the period; or ``max``."""
    try:
        quota, period = map(int, file.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    return _cores(quota, period)


def _read_old_quota(group: Path) -> float | None:
    quota = _read_integer(group / "cpu.cfs_quota_us")
    period = _read_integer(group / "cpu.cfs_period_us")
    return None if quota is None or period is None else _cores(quota, period)


def _cores(quota: int, period: int) -> float | None:
    return quota / period if quota > 0 and period > 0 else None  # -1 stands for no quota


def _read_integer(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return None


def _read_statistic(file: Path, key: str) -> int:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return 0
    for line in lines:
        name, _, value = line.partition(" ")
        if name == key and value.isdecimal():
            return int(value)
    return 0
