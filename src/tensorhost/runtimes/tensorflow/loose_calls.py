"""Calls with shapes that a signature does not declare, for protocols in which the model itself has the last word.

They must not reach the Session that serves: its graph was optimised for the declared shapes, and what is optimised
away may have been what made other shapes fit. So such shapes are tried on the graph's outline first, which cannot
crash, and then run in a Session of the same graph that optimises nothing. It is made at the first such call and holds
the weights once more; hence the limit. What must stay true: a shape refused in the outline is never run.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes.tensorflow.errors import first_line
from tensorhost.runtimes.tensorflow.graph_outline import GraphOutline
from tensorhost.runtimes.tensorflow.process import DEFAULT_EXECUTOR
from tensorhost.runtimes.tensorflow.session import SessionCall, prepare_calls
from tensorhost.runtimes.tensorflow.signature_defs import Bindings, BoundSignature

UP_TO_BYTES = 512 * 2**20
"""Most parameter bytes of a model that takes undeclared shapes."""

_VERDICTS = 256

_SUBJECT = re.compile(r"\.? for '\s*= (\w+).*$")
"""How TensorFlow names an operation: with all of its attributes and inputs, of which its kind says enough."""

_Key = tuple[str, tuple[tuple[int, ...], ...]]


class LooseCalls:
    """Undeclared shapes of one model. Constructing is cheap.

    Args:
        tf: the ``tensorflow`` module.
        outline: the served graph's.
        open_session: makes an initialised Session of the served graph that optimises nothing.
    """

    def __init__(self, tf: Any, outline: GraphOutline, open_session: Callable[[], Any]) -> None:
        self._tf = tf
        self._outline = outline
        self._open_session = open_session
        self._lock = threading.Lock()
        self._session: Any = None
        self._calls: dict[str, SessionCall] = {}
        # What was found out about shapes: nothing against them, or why not.
        self._verdicts: OrderedDict[_Key, str] = OrderedDict()

    def __call__(self, bound: BoundSignature, inputs: Tensors) -> dict[str, Array]:
        """One call. Blocks, at the first call for as long as making a Session takes.

        Raises:
            InvalidRequestError: the graph does not take these shapes.
            Exception: what TensorFlow raises.
        """
        with self._lock:
            self._check(bound, inputs)
            call = self._calls.get(bound.signature.name) or self._prepare(bound)
        return call(inputs)

    def close(self) -> None:
        """Close the Session, if there is one. No call may be running or follow."""
        self._calls.clear()
        if self._session is not None:
            self._session.close()
            self._session = None

    def _check(self, bound: BoundSignature, inputs: Tensors) -> None:
        shapes = tuple(inputs[name].shape for name in bound.signature.inputs)
        key = bound.signature.name, shapes
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._verdicts[key] = self._try(bound, shapes)
            if len(self._verdicts) > _VERDICTS:
                self._verdicts.popitem(last=False)
        if verdict:
            raise InvalidRequestError(f"The model refused the input: {verdict}")

    def _try(self, bound: BoundSignature, shapes: tuple[tuple[int, ...], ...]) -> str:
        try:
            specs = bound.signature.inputs.values()
            declared = {feed: spec.shape for feed, spec in zip(bound.feeds, specs, strict=True)}
            self._outline.check(bound.fetches, declared, dict(zip(bound.feeds, shapes, strict=True)))
        except (self._tf.errors.OpError, ValueError, TypeError) as error:
            return _SUBJECT.sub(r" (\1)", first_line(error))
        return ""

    def _prepare(self, bound: BoundSignature) -> SessionCall:
        if self._session is None:
            self._session = self._open_session()
        calls, _ = prepare_calls(
            self._tf, self._session, Bindings((bound,), {}), "frozen graph", DEFAULT_EXECUTOR, skip_refused=False
        )
        call = self._calls[bound.signature.name] = calls[bound.signature.name]
        return call
