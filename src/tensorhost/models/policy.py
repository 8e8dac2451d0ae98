"""Which versions of a model should be loaded. Pure: a function of what is on disk and of what failed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.ids import version_key


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """``latest`` newest versions, or those named in ``specific``, or all where both are None."""

    latest: int | None = None
    specific: frozenset[str] | None = None

    @classmethod
    def parse(cls, value: str | Collection[str]) -> VersionPolicy:
        """From ``"latest"``, ``"latest:N"``, ``"all"`` or a list of versions. Raises InvalidRequestError."""
        if not isinstance(value, str):
            return cls(specific=frozenset(value))
        if value == "all":
            return cls()
        word, _, count = value.partition(":")
        if word != "latest" or (count and not (count.isdecimal() and int(count) > 0)) or value.endswith(":"):
            raise InvalidRequestError(
                f"A version policy is latest, latest:N, all or a list of versions, not '{value}'."
            )
        return cls(latest=int(count or 1))

    def choose(self, versions: Iterable[str], failed: Collection[str] = ()) -> set[str]:
        """The versions to load.

        A version that failed does not use up a place among the latest: the newest that work are served, so a
        broken upload never leaves a model without a version.
        """
        newest_first = sorted(versions, key=version_key, reverse=True)
        if self.specific is not None:
            return set(newest_first) & self.specific
        if self.latest is None:
            return set(newest_first)
        working = [version for version in newest_first if version not in failed]
        return set(working[: self.latest]) | set(failed).intersection(self._newer_than(newest_first, working))

    def _newer_than(self, newest_first: list[str], working: list[str]) -> list[str]:
        # A failed version that would be among the latest stays wanted, so that it is tried again.
        if len(working) < (self.latest or 0):
            return newest_first
        return newest_first[: newest_first.index(working[(self.latest or 1) - 1])]


def removable(loaded: Collection[str], desired: Collection[str], available: Collection[str]) -> set[str]:
    """Loaded versions that may go now.

    A version that is no longer wanted stays until every wanted version that can serve does, so that there is no
    moment without a version to answer.

    Args:
        loaded: versions that hold a servable.
        desired: versions the policy wants and that have not failed.
        available: versions that answer now.
    """
    unwanted = set(loaded) - set(desired)
    return unwanted if set(desired) <= set(available) else set()
