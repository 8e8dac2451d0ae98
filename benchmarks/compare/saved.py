"""The saved results: read, merged with what was measured anew, written. Pure but for the two functions at the end.

There are two, one for each group of cases (``plan.Case.group``), so that one can be measured anew without the other. A
case is known by its key (``plan.Case.key``); what is measured anew replaces what was saved under the same key, server
by server. Ratios are kept with the server they belong to, because they were taken between neighbours in time, inside
the run that measured it. Runs on different machines, or with different versions of the same package, do not mix.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.protocols import BINARY, JSON

RESULTS = Path(__file__).resolve().parents[1] / "results"
_NAMES = {JSON: "compare.json", BINARY: "compare_binary.json"}
_KEY = ("model", "load", "connections", "rate", "body")

Saved = dict[str, Any]


class MixedRunsError(RuntimeError):
    """Two runs that cannot be shown in one table."""


def case_key(case: Saved) -> tuple[Any, ...]:
    """What tells a saved case from the others."""
    return tuple(case[name] for name in _KEY)


def merge(old: Saved | None, new: Saved, order: Iterable[dict[str, Any]]) -> Saved:
    """``old`` with what ``new`` measured; cases in the plan's ``order``, then those it no longer has.

    Raises MixedRunsError where machine or versions differ.
    """
    if old is None:
        return new
    _refuse_mixture(old, new)
    cases = {case_key(case): case for case in old["cases"]}
    for case in new["cases"]:
        before = cases.get(case_key(case), {"servers": {}})
        cases[case_key(case)] = case | {"servers": before["servers"] | case["servers"]}
    places = {case_key(case): place for place, case in enumerate(order)}
    ordered = sorted(cases.values(), key=lambda case: places.get(case_key(case), len(places)))
    unavailable = {name: why for name, why in old["unavailable"].items() if name not in new["peers"]}
    missing = unavailable | new["unavailable"]
    return new | {"peers": old["peers"] | new["peers"], "unavailable": missing, "cases": ordered}


def _refuse_mixture(old: Saved, new: Saved) -> None:
    if old["machine"] != new["machine"]:
        raise MixedRunsError("The saved result comes from another machine.")
    pairs = [("tensorhost", old["versions"], new["versions"])]
    pairs += [(name, old["peers"][name], new["peers"][name]) for name in old["peers"].keys() & new["peers"].keys()]
    for name, before, now in pairs:
        if before != now:
            raise MixedRunsError(f"The saved result was measured with other versions of {name}'s packages.")


def has(saved: Saved | None, key: dict[str, Any], servers: Iterable[str]) -> bool:
    """Whether every one of ``servers`` is saved for the case."""
    cases = saved["cases"] if saved else []
    found = [case for case in cases if case_key(case) == case_key(key)]
    return bool(found) and set(servers) <= found[0]["servers"].keys()


def as_text(saved: Saved) -> str:
    """JSON with a line for each server of a case: short enough to read, and differences show who was measured anew."""
    cases = ",\n".join(_case_text(case) for case in saved["cases"])
    head = json.dumps({name: value for name, value in saved.items() if name != "cases"}, indent=1).removesuffix("\n}")
    return f'{head},\n "cases": [\n{cases}\n ]\n}}\n'


def _case_text(case: Saved) -> str:
    servers = ",\n".join(f"   {json.dumps(name)}: {json.dumps(one)}" for name, one in case["servers"].items())
    head = json.dumps({name: value for name, value in case.items() if name != "servers"}).removesuffix("}")
    return f'  {head}, "servers": {{\n{servers}\n  }}}}'


def read(group: str) -> Saved | None:
    """What is saved of a group of cases; None for nothing."""
    file = RESULTS / _NAMES[group]
    if not file.is_file():
        return None
    saved: Saved = json.loads(file.read_text(encoding="utf-8"))
    return saved


def write(group: str, saved: Saved) -> None:
    """Write a result whole, so that a run that is ended leaves a readable file."""
    file = RESULTS / _NAMES[group]
    fresh = file.with_suffix(".new")
    fresh.write_text(as_text(saved), encoding="utf-8")
    fresh.replace(file)
