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
        load_native: loads it in its format's own runtime; called only where that executes something.

    Raises TensorhostError; nothing stays loaded.
    """
    report, folder = tried.report, tried.folder
    if report is None or folder is None:
        raise ModelFailedError("The forms written for other runtimes are not there.")
    with ExitStack() as opened:
        native = load_native() if tried.needs_native else None
        if native is not None:
            opened.callback(native.close)
        routes: dict[str, list[Route]] = {}
        for name, signature in report.signatures.items():
            decision = tried.decisions[name]
            runtimes: dict[Entrant | None, Runtime] = {} if native is None else {None: native}
            for entrant in decision.winners:
                engine = engine_signature(folder, decision.engine(entrant), signature)
                runtimes[entrant] = open_engine(
                    entrant, engine, report.weights_bytes, options, keep_compiled=bool(tried.key)
                )
                opened.callback(runtimes[entrant].close)
            routes[name] = [Route(rows, runtimes[entrant]) for rows, entrant in decision.routes]
        made = RoutedRuntime(report.signatures, routes, report.refused_signatures, report.weights_bytes)
        opened.pop_all()
    return made
