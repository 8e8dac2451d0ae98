"""Loading a version by those who won its race."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from tensorhost.core.errors import ModelFailedError
from tensorhost.models.trials import Tried
from tensorhost.runtimes import LoadOptions, Runtime
from tensorhost.runtimes.engine_files import engine_signature
from tensorhost.runtimes.race.entrants import open_engine
from tensorhost.runtimes.race.routed import Route, RoutedRuntime
from tensorhost.runtimes.race.verdict import Entrant


def load_decided(tried: Tried, options: LoadOptions, load_native: Callable[[], Runtime]) -> Runtime:
    """The version of which ``tried`` is known, loaded by whoever is to execute it.

    Args:
        tried: the decisions, and the child's report with the signatures.
        options: how it is loaded.
        load_native: loads it in its format's own runtime; called only where that executes something, or later when
            a request has shapes that the signatures do not declare.

    Raises TensorhostError; nothing stays loaded.
    """
    report, folder = tried.report, tried.folder
    if report is None or folder is None:
        raise ModelFailedError("The forms written for other runtimes are not there.")
    with ExitStack() as opened:
        native = load_native() if tried.needs_native else None
        if native is not None:
            opened.callback(native.close)
        # By entrant and file: signatures that are the same graph share one.
        engines: dict[tuple[Entrant, str], tuple[Runtime, str]] = {}
        routes: dict[str, list[Route]] = {}
        for name, signature in report.signatures.items():
            decision = tried.decisions[name]
            routes[name] = []
            for rows, entrant in decision.routes:
                if entrant is None:
                    assert native is not None  # for the type checker: a decision with such a route needs it
                    routes[name].append(Route(rows, native, name))
                    continue
                file = decision.engine(entrant)
                key = (entrant, file.file)
                if key not in engines:
                    engine = engine_signature(folder, file, signature)
                    runtime = open_engine(entrant, engine, report.weights_bytes, options, keep_compiled=bool(tried.key))
                    opened.callback(runtime.close)
                    engines[key] = (runtime, name)
                routes[name].append(Route(rows, *engines[key]))
        own = load_native if native is None else _given(native)
        made = RoutedRuntime(report.signatures, routes, report.refused_signatures, report.weights_bytes, own)
        opened.pop_all()
    return made


def _given(runtime: Runtime) -> Callable[[], Runtime]:
    return lambda: runtime
