"""How many files and sockets the process may have open."""

from __future__ import annotations

import errno

TOO_MANY_OPEN_FILES = frozenset({errno.EMFILE, errno.ENFILE})
"""What the system says when this process, or all together, have as many as allowed."""


def allow_open_files(count: int) -> None:
    """Raise the process's soft limit of open files as far as the system lets it; the usual 1,024 are soon used up."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
