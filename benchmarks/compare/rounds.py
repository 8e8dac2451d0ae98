"""All rounds of a case: everybody takes a turn, every other round backwards; what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.asking import NoAnswerError
from benchmarks.compare.plan import Case
from benchmarks.compare.turns import Participant
from benchmarks.figures import compare, spread, summarise
from benchmarks.load import LoadFailedError
from benchmarks.servers import WrongAnswerError

Turns = list[dict[str, float]]


def measure_case(case: Case, participants: Sequence[Participant], rounds: int) -> dict[str, Any]:
    """The figures of everybody who takes the case, by name.

    A participant that fails in a turn takes no more turns in this case, and its reason stands in place of figures; a
    failure of tensorhost's own ends the run.
    """
    taking = [one for one in participants if one.takes(case)]
    turns: dict[str, Turns] = {one.name: [] for one in taking}
    failures: dict[str, str] = {}
    for number in range(min(rounds, case.rounds or rounds)):
        # Every other round backwards, so that nobody always follows the same neighbour.
        for one in taking if number % 2 == 0 else reversed(taking):
            if one.name in failures:
                continue
            try:
                turns[one.name].append(one.turn(case))
            except (LoadFailedError, WrongAnswerError, NoAnswerError) as error:
                if one.is_ours:
                    raise
                failures[one.name] = reason(error)
    measures = {one.name: turns[one.name] for one in taking if one.is_measure}
    servers = {
        name: {"failed": failures[name]} if name in failures else summarise_server(mine, name, measures)
        for name, mine in turns.items()
    }
    return case.key | {"seconds": case.seconds, "servers": servers}


def summarise_server(turns: Turns, name: str, measures: dict[str, Turns]) -> dict[str, Any]:
    """Medians, spread and rounds of one, and how those it is measured by compare with it, round by round."""
    times = {} if name in measures else {mine: compare(their, turns) for mine, their in measures.items()}
    spreads = {figure: spread([one[figure] for one in turns]) for figure in ("requests_s", "p99_ms")}
    return summarise(turns) | {"spread": spreads, "times": times}


def reason(error: Exception) -> str:
    """One line about a failure, for the saved result."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
