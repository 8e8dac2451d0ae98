"""A parsed request body: plain fields as Python objects, everything large left in the parser's memory.

A body is parsed once. The small fields are read first; tensors are decoded later (``json_tensors``), when the
fields have told which model they are for.

What must stay true: every document has a parser of its own, so documents may be used from any thread and kept
alive by anything; a parser shared between requests would refuse the next body while one value of the last still
lives. No two members of an object that is read here have the same name: such a body is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Self

from simdjson import Array as JsonArray
from simdjson import Object as JsonMembers
from simdjson import Parser

from tensorhost.codecs.json_faults import explain_fault, widen_integers
from tensorhost.codecs.json_structure import (
    has_at_most_lists,
    iter_objects,
    structure_of,
    structure_of_object,
    structure_of_value,
)
from tensorhost.core.errors import InvalidRequestError

MAX_PLAIN_VALUES = 10_000
"""Most values, nested ones included, of one field that is read as Python objects."""

MAX_MEMBERS = 1000
"""Most members of one object that is read here."""

_PROXIES = (JsonMembers, JsonArray)

_FEW_LISTS = 8
_BYTES_PER_LIST = 512  # finding one more bracket takes as long as taking the structure of this much text


class JsonObject:
    """One object of a request: the whole body, or one item of a list in it."""

    __slots__ = ("_max_depth", "_members", "_structure", "_text", "keys", "where")

    def __init__(self, members: Any, text: bytes, *, max_depth: int, where: str = "The body") -> None:
        """An object with these ``members``, whose JSON text is ``text``; its structure alone will do."""
        self._members = members
        self._text = text
        self._structure: bytes | None = None
        self._max_depth = max_depth
        self.where = where
        self.keys: tuple[str, ...] = member_names(members, where)

    @classmethod
    def parse(cls, body: bytes, *, max_depth: int = 64) -> Self:
        """Parse a request body.

        Args:
            body: UTF-8 JSON text whose top level is an object.
            max_depth: deepest nesting that reading a field or decoding a tensor will follow.

        Raises:
            InvalidRequestError: the body is empty, not UTF-8, not JSON, nested too deeply, not an object, or
                names a member twice. The message says what is wrong and, for bodies up to 1 MiB, where.
        """
        try:
            members = Parser().parse(body)
        except (ValueError, RuntimeError) as error:
            widened = widen_integers(body)
            if widened is None:
                raise explain_fault(body, str(error)) from None
            body = widened
            members = Parser().parse(body)
        if not isinstance(members, JsonMembers):
            raise InvalidRequestError(f"The body must be a JSON object, not {kind_of(members)}.")
        return cls(members, body, max_depth=max_depth)

    @property
    def proxy(self) -> Any:
        """The object as the parser holds it."""
        return self._members

    @property
    def max_depth(self) -> int:
        """Deepest nesting that may be followed below this object, itself included."""
        return self._max_depth

    @property
    def structure(self) -> bytes:
        """The object's structure, computed when first asked for; see ``json_structure``."""
        if self._structure is None:
            self._structure = structure_of(self._text)
        return self._structure

    @property
    def text(self) -> bytes:
        """The object's JSON text, or its structure alone."""
        return self._text

    def has_plain_rest(self, key: str) -> bool:
        """Whether all members besides ``key`` are scalars."""
        return not any(isinstance(self._members[name], _PROXIES) for name in self.keys if name != key)

    def has_few_lists(self, lists: int) -> bool:
        """Whether the object holds at most ``lists`` lists, all members counted, and counting them is cheap.

        False proves nothing: brackets in strings count as lists, and where there is a list every few bytes, taking
        the structure costs less. True is proof.
        """
        return lists <= _FEW_LISTS + len(self._text) // _BYTES_PER_LIST and has_at_most_lists(self._text, lists)

    def element(self, key: str) -> Any:
        """The value of ``key`` as the parser holds it: a proxy for lists and objects, a Python scalar otherwise.

        Raises KeyError where there is none.
        """
        if key not in self.keys:
            raise KeyError(key)
        return self._members[key]

    def fields(self, allowed: Collection[str], *, deferred: Collection[str] = ("inputs",)) -> dict[str, Any]:
        """The members named in ``allowed``, as Python objects, those that are there.

        Args:
            allowed: names read here.
            deferred: names that may be present and are left for later, such as ``inputs`` or ``batch``.

        Raises:
            InvalidRequestError: a member is in neither collection, is nested too deeply, has more than
                ``MAX_PLAIN_VALUES`` values or names a member twice.
        """
        found: dict[str, Any] = {}
        for key in self.keys:
            if key in allowed:
                found[key] = self.plain(key)
            elif key not in deferred:
                known = ", ".join(f"'{name}'" for name in sorted({*allowed, *deferred}))
                raise InvalidRequestError(
                    f"{self.where} has an unknown field '{shorten(key)}'; the fields are {known}.",
                    details={"field": shorten(key)},
                )
        return found

    def plain(self, key: str) -> Any:
        """The value of ``key`` as Python objects; the limits and errors of ``fields``."""
        value = self._members[key]
        if isinstance(value, _PROXIES):
            return _PlainReader(key, self._max_depth - 1).read(value)
        return value

    def items(self, key: str, *, max_items: int) -> Iterator[JsonObject | InvalidRequestError]:
        """Each element of the list ``key``, in order: an object, or the error of an element that is none.

        Raises:
            InvalidRequestError: ``key`` is missing, is no list, or has more than ``max_items`` elements.
        """
        value = self._members[key] if key in self.keys else None
        if not isinstance(value, JsonArray):
            problem = f"must be a list of objects, not {kind_of(value)}" if key in self.keys else "is missing"
            raise InvalidRequestError(f"'{key}' {problem}.", details={"field": key})
        if len(value) > max_items:
            raise InvalidRequestError(
                f"'{key}' has {len(value)} items; at most {max_items} are allowed.",
                details={"field": key, "expected": max_items, "actual": len(value)},
            )
        return self._iter_items(key, value)

    def _iter_items(self, key: str, elements: Any) -> Iterator[JsonObject | InvalidRequestError]:
        structures = iter_objects(self.structure, self._offset_of(key))
        aligned = True
        for index, element in enumerate(elements):
            where = f"'{key}[{index}]'"
            if not isinstance(element, JsonMembers):
                # A list among the items may hide objects of its own, so positions can no longer be counted.
                aligned = aligned and not isinstance(element, JsonArray)
                yield InvalidRequestError(f"{where} must be an object, not {kind_of(element)}.")
                continue
            text = next(structures) if aligned else minified(element)
            try:
                yield JsonObject(element, text, max_depth=self._max_depth - 2, where=where)
            except InvalidRequestError as error:
                yield error

    def _offset_of(self, key: str) -> int:
        before = self.keys[: self.keys.index(key)]
        return 1 + sum(2 + len(structure_of_value(self.plain(name))) for name in before) + 1

    def expected_structure(self, known: Mapping[str, bytes]) -> bytes:
        """The structure this object must have if its members in ``known`` have those structures."""
        return structure_of_object(
            [known[key] if key in known else self._structure_of_member(key) for key in self.keys]
        )

    def _structure_of_member(self, key: str) -> bytes:
        value = self._members[key]
        return structure_of_value(self.plain(key)) if isinstance(value, _PROXIES) else b""


class _PlainReader:
    """Turns one field's value into Python objects, within limits that hold before anything is built."""

    def __init__(self, field: str, max_depth: int) -> None:
        self._field = field
        self._max_depth = max_depth
        self._left = MAX_PLAIN_VALUES

    def read(self, value: Any, depth: int = 1) -> Any:
        """``value`` as dicts, lists and scalars. Recursion is bounded by the depth limit."""
        if not isinstance(value, _PROXIES):
            return value
        if depth > self._max_depth:
            raise depth_error(f"'{self._field}'", self._max_depth)
        self._left -= len(value)
        if self._left < 0:
            raise InvalidRequestError(
                f"'{self._field}' has more than {MAX_PLAIN_VALUES} values.", details={"field": self._field}
            )
        if isinstance(value, JsonArray):
            return [self.read(element, depth + 1) for element in value]
        names = member_names(value, f"'{self._field}'")
        return {name: self.read(value[name], depth + 1) for name in names}


def member_names(members: Any, where: str) -> tuple[str, ...]:
    """The names of an object's members, in the order they were written.

    Raises:
        InvalidRequestError: a name comes twice or holds a NUL character (the parser's look-up would take the one
            for another), or there are more than ``MAX_MEMBERS`` (look-up is linear).
    """
    if len(members) > MAX_MEMBERS:
        raise InvalidRequestError(f"{where} has more than {MAX_MEMBERS} fields.")
    names = tuple(members)
    if len(set(names)) != len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise InvalidRequestError(f"{where} has the field '{shorten(twice)}' twice.", details={"field": shorten(twice)})
    if "\0" in "".join(names):
        raise InvalidRequestError(f"{where} has a field whose name holds a NUL character.")
    return names


def minified(value: Any) -> bytes:
    """A list or object of the document as JSON text without spaces. Slow: every number is written anew."""
    text: bytes = value.mini
    return text


def depth_error(where: str, max_depth: int) -> InvalidRequestError:
    """The error for ``where`` being nested deeper than ``max_depth``."""
    return InvalidRequestError(
        f"{where} is nested too deeply; at most {max_depth} levels are allowed here.", details={"expected": max_depth}
    )


def kind_of(value: Any) -> str:
    """What a value is, in JSON's words, for messages: ``a string``, ``null``, ``the number 3.5``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {shorten(str(value))}"
    if isinstance(value, str):
        return "a string"
    return "an object" if isinstance(value, JsonMembers | dict) else "a list"


def shorten(text: str, limit: int = 64) -> str:
    """``text``, cut so that a message cannot be made arbitrarily long."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
