"""Which model a request means, and which one answered, whatever the wire."""

from __future__ import annotations

from typing import NamedTuple

from tensorhost.core.signatures import DEFAULT_SIGNATURE


class ModelSpec(NamedTuple):
    """What a request asks for.

    Attributes:
        name: the model; never empty.
        version: the number of a version; None for the newest that serves, or for what ``label`` says.
        label: a label of the model; None without one. Never together with ``version``.
        signature: empty for the default one.
    """

    name: str
    version: int | None = None
    label: str | None = None
    signature: str = ""

    @property
    def signature_or_default(self) -> str:
        """The signature by the name TensorFlow Serving looks it up."""
        return self.signature or DEFAULT_SIGNATURE


class AnsweredBy(NamedTuple):
    """What answered: the effective specification, as responses carry it.

    Attributes:
        name: the model.
        version: the number of its version; None where that is named by something else than a number.
        signature: the signature's name.
    """

    name: str
    version: int | None
    signature: str
