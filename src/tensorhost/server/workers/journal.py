"""What operators have asked for since the start, and how to take back what only some workers could do. Pure.

A worker that takes another's place is given the journal, so that it comes to the same state. Of several wishes about
the same version or label only the last matters, and the last that named a path, which says what the version is; so the
journal grows with the versions and labels there are, not with the calls.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from tensorhost.models.listed import ModelList
from tensorhost.models.wishes import Action, Wish

_LABELLING = frozenset({Action.LABEL, Action.RELABEL})

_Key = tuple[str, str | None]


class Journal:
    """Wishes in the order in which they were last expressed; those about labels after all about versions.

    Attributes:
        models: the list that is served, None for what lies in the model path; all wishes come after it.
    """

    def __init__(self) -> None:
        self.models: ModelList | None = None
        self._wishes: list[Wish] = []
        self._labels: dict[_Key, Wish] = {}

    def add(self, wish: Wish) -> None:
        """Note a wish that workers are about to carry out."""
        if wish.action is Action.REPLACE:
            self._replace(wish.models)
            return
        if wish.action in _LABELLING:
            self._labels.pop(_label(wish), None)
            if wish.version is not None:
                # A worker takes it up before it has loaded anything.
                self._labels[_label(wish)] = replace(wish, action=Action.RELABEL)
            return
        if wish.action is Action.ADD:
            wish = replace(wish, action=Action.LOAD)
        self._wishes = [
            other
            for other in self._wishes
            if _version(other) != _version(wish) or (other.source is not None and wish.source is None)
        ]
        self._wishes.append(wish)

    def take_back(self, wish: Wish, earlier: Sequence[Wish]) -> None:
        """Forget a load that came to nothing: what ``earlier``, the journal before it, has of its version counts."""
        same = _version(wish)
        self._wishes = [other for other in self._wishes if _version(other) != same]
        self._wishes += [other for other in earlier if other.action not in _LABELLING and _version(other) == same]

    def _replace(self, models: ModelList) -> None:
        """Note a list: what was wished for its new and changed models counts no more, nor for what only it would bring.

        A model that was named by path is no list's, unless that has its name.
        """
        before = {model.name: model for model in self.models or ()}
        unchanged = {model.name for model in models if before.get(model.name) == model}
        by_path = {wish.name for wish in self._wishes if wish.source is not None}
        kept = unchanged | (by_path - {model.name for model in models})
        listed = {model.name: model for model in models}
        self._wishes = [wish for wish in self._wishes if wish.name in kept]
        self._labels = {
            key: wish
            for key, wish in self._labels.items()
            if wish.name in kept or (wish.name in listed and wish.label not in listed[wish.name].labels)
        }
        self.models = models

    def state(self) -> tuple[ModelList | None, list[Wish], dict[_Key, Wish]]:
        """What ``restore`` brings back."""
        return self.models, list(self._wishes), dict(self._labels)

    def restore(self, state: tuple[ModelList | None, list[Wish], dict[_Key, Wish]]) -> None:
        """Forget what was noted since ``state``."""
        self.models, self._wishes, self._labels = state

    def wishes(self) -> tuple[Wish, ...]:
        """What a new worker is to take up, in this order."""
        return (*self._wishes, *self._labels.values())


def undo(wish: Wish, earlier: Sequence[Wish], added: Collection[str]) -> list[Wish]:
    """What takes back a load, or a label's move, that failed on some workers only.

    Args:
        wish: the load or the move.
        earlier: the journal before it.
        added: versions that serve on some worker and did not before.
    """
    if wish.action in _LABELLING:
        before = [other for other in earlier if other.action in _LABELLING and _label(other) == _label(wish)]
        return before or [replace(wish, action=Action.RELABEL, version=None)]
    versions = [other for other in earlier if other.action not in _LABELLING]
    same = [other for other in versions if _version(other) == _version(wish) and other.source is not None]
    if wish.source is not None and same and not added:
        # Other files may have taken the place of those that served.
        return same
    return [Wish(Action.UNLOAD, wish.name, version) for version in sorted(added)]


def _version(wish: Wish) -> _Key:
    return wish.name, wish.version


def _label(wish: Wish) -> _Key:
    return wish.name, wish.label
