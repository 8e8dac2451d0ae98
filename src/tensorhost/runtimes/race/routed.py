"""A model that several runtimes execute between them: which one, by signature and by rows of the call.

What must stay true: signatures are those of the model's own runtime, whoever executes them; a runtime that serves
several signatures is closed once. Shapes that signatures do not declare go to the format's own runtime alone, which is
loaded for the first of them where it executes nothing else: who won the race was only compared for declared ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tensorhost.core.errors import TensorhostError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes.base import ExampleFeature, LoadedModel, Runtime
from tensorhost.telemetry import get_logger

log = get_logger(__name__)


class Route(NamedTuple):
    """Calls of at most ``rows`` rows go to ``signature`` of ``runtime``."""

    rows: int
    runtime: Runtime
    signature: str


class RoutedRuntime(LoadedModel):
    """A loaded model. See ``Runtime``.

    Args:
        signatures: as clients see them, the default one first.
        routes: by signature, in rising order of rows; the last one takes whatever is left.
        refused: signatures left out, with the reason.
        weights_bytes: bytes of the model's parameters.
        load_own: gives the format's own runtime, which this then owns. Its memory counts for nobody.
    """

    def __init__(
        self,
        signatures: Mapping[str, Signature],
        routes: Mapping[str, Sequence[Route]],
        refused: Mapping[str, str],
        weights_bytes: int,
        load_own: Callable[[], Runtime] | None = None,
    ) -> None:
        super().__init__(signatures, refused, weights_bytes)
        self._routes = {name: tuple(routes[name]) for name in signatures}
        self._load_own = load_own
        self._own: Runtime | None = None
        # The first input with rows; None where calls have no rows to tell them by.
        self._counted = {name: _counted(signature) for name, signature in signatures.items()}

    @property
    def name(self) -> str:
        """What executes the model: of several, those of the default signature first."""
        return "+".join(dict.fromkeys(runtime.name for runtime in self._runtimes()))

    def call_path(self, signature: str) -> str:
        """How this signature is called."""
        *firsts, last = self._routes[signature]
        paths = [f"up to {route.rows} rows: {route.runtime.call_path(route.signature)}" for route in firsts]
        return "; ".join([*paths, f"{'beyond: ' if firsts else ''}{last.runtime.call_path(last.signature)}"])

    def example_features(self, signature: str) -> Sequence[ExampleFeature]:
        """What TensorFlow knows of it, where it is among those who serve the signature."""
        known = (route.runtime.example_features(route.signature) for route in self._routes[signature])
        return next(filter(None, known), ())

    def tune(self, signature: str, samples: Sequence[Tensors]) -> None:
        """Have each runtime that serves the signature tune itself; see ``Runtime.tune``."""
        for runtime, name in dict.fromkeys((route.runtime, route.signature) for route in self._routes[signature]):
            runtime.tune(name, samples)

    def run(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """One call; see ``Runtime.run``."""
        routes = self._routes[signature]
        route = routes[0]
        if len(routes) > 1:
            counted = self._counted[signature]
            rows = 1 if counted is None else len(inputs[counted])
            route = next((each for each in routes if rows <= each.rows), routes[-1])
        return route.runtime.run(route.signature, inputs)

    def run_loosely(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """One call by the format's own runtime, loaded now if need be; see ``Runtime.run_loosely``.

        From one thread at a time.
        """
        if self._own is None and self._load_own is not None:
            load_own, self._load_own = self._load_own, None
            try:
                self._own = load_own()
            except TensorhostError as error:
                log.warning("undeclared shapes are refused", reason=error.message, detail=error.log_detail)
        if self._own is None:
            return super().run_loosely(signature, inputs)
        return self._own.run_loosely(signature, inputs)

    def close(self) -> None:
        """Close every runtime. No call may be running or follow."""
        for runtime in dict.fromkeys((*self._runtimes(), *filter(None, (self._own,)))):
            runtime.close()
        self._routes.clear()
        self._own = self._load_own = None

    def _runtimes(self) -> Iterable[Runtime]:
        return list(dict.fromkeys(route.runtime for routes in self._routes.values() for route in routes))


def _counted(signature: Signature) -> str | None:
    return next((name for name, spec in signature.inputs.items() if spec.is_batchable), None)
