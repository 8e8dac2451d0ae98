"""tensorhost and the servers a user could install instead, on the same models, bodies and cores, taking turns.

Run: ``python -m benchmarks.compare [--save] [--only a,b] [--peers a,b] [--rounds N] [--seconds N] [--quick]``. About 35
minutes for everything, ten for ``--only grpc,binary``; the first run also builds the models and an environment for
every peer that takes part under ``--cache`` (five minutes, twelve gigabytes for all). With ``--save`` each case is
merged into ``results/compare.json`` or ``results/compare_binary.json`` when it is done, so that a part can be measured
anew and a run that was ended can go on with ``--resume``.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.compare import plan, saved
from benchmarks.compare.plan import Case
from benchmarks.compare.report import print_case
from benchmarks.compare.rounds import measure_case
from benchmarks.compare.turns import LOOPS, SETTLE_S, WARM_UP_S, Participant, participants_of, run_loops
from benchmarks.contenders import Contender, all_of_ours, another_of_ours, peer
from benchmarks.grpc_generator import CONNECTIONS
from benchmarks.load import generator_version
from benchmarks.models import DEFAULT_CACHE, Model, ensure
from benchmarks.peers import environment
from benchmarks.protocols import BINARY, JSON
from benchmarks.servers import run_servers

_PACKAGES = {
    JSON: machine.PACKAGES,
    BINARY: ("tensorhost", "tensorflow-cpu", "numpy", "uvloop", "httptools", "grpcio", "pygrpc-native", "protobuf"),
}


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Names by comma, each one of ``known``, for a command line."""

    def names(text: str) -> list[str]:
        given = text.split(",")
        if unknown := set(given) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
        return given

    return names


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.splitlines()[0])
    only, peers = (*plan.MODELS, *plan.BODIES), ("none", *environment.PEERS)
    parser.add_argument("--save", action="store_true", help="merge what is measured into the saved results")
    parser.add_argument("--fresh", action="store_true", help="forget what is saved; needed on another machine")
    parser.add_argument("--resume", action="store_true", help="leave out what is saved already")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where models and environments are kept")
    parser.add_argument("--only", type=_names(only), default=[], help=f"some cases, by comma: {','.join(only)}")
    parser.add_argument("--peers", type=_names(peers), help=f"some of the peers, by comma: {','.join(peers)}")
    parser.add_argument("--ours", metavar="NAME=FLAGS", action="append", default=[], help="also tensorhost with FLAGS")
    parser.add_argument("--rounds", type=int, default=2, help="how often everybody takes a turn")
    parser.add_argument("--seconds", type=int, help="how long every turn takes")
    parser.add_argument("--quick", action="store_true", help="one round of a second, few cases: does everything run?")
    options = parser.parse_args()
    options.peers = [name for name in options.peers or environment.PEERS if name != "none"]
    return options


class Comparison:
    """One run: its cases, who takes part, and what has been measured so far."""

    def __init__(self, options: argparse.Namespace, cases: Sequence[Case]) -> None:
        self._options = options
        self._plan = cases
        self.groups = tuple(dict.fromkeys(case.group for case in cases))
        self._before = {group: None if options.fresh else saved.read(group) for group in self.groups}
        self._contenders: list[Contender] = list(all_of_ours())
        for named in options.ours:
            name, _, flags = named.partition("=")
            self._contenders.append(another_of_ours(name, shlex.split(flags)))
        self._unavailable: dict[str, str] = {}
        self._versions: dict[str, dict[str, str]] = {}
        self._measured: dict[str, list[dict[str, Any]]] = {group: [] for group in self.groups}

    def install(self) -> None:
        """Make the environments of peers that take part; those that cannot be made are left out, and said to be."""
        for name in self._options.peers:
            if not takes_part(name, self._plan):
                continue
            try:
                python = environment.ensure(name, self._options.cache / "peers")
            except environment.PeerMissingError as error:
                self._unavailable[name] = str(error)
                continue
            self._versions[name] = environment.versions(name, python)
            self._contenders += peer(name, python)

    def run(self, model: Model) -> None:
        """Every case of one model, on one set of running servers."""
        cases = [case for case in self._plan if case.model == model.name]
        if self._options.resume:
            cases = [case for case in cases if not self._is_saved(case)]
        if not cases:
            return
        contenders = [one for one in self._contenders if any(case.admits(one) for case in cases)]
        failures: dict[str, str] = {}
        with (
            tempfile.TemporaryDirectory() as scratch,
            run_servers(contenders, model, failures=failures) as servers,
            run_loops(model, LOOPS if any(case.has_loops for case in cases) else (), failures) as loops,
        ):
            served = [one for server in servers for one in participants_of(server, cases, Path(scratch))]
            everyone: list[Participant] = [*served, *loops]
            for one in everyone:
                one.warm_up()
            for case in cases:
                result = measure_case(case, everyone, self._options.rounds)
                result["servers"] |= {
                    row: {"failed": failures[name]} for row, name in self._expected(case).items() if name in failures
                }
                print_case(str(case), result)
                self._measured[case.group].append(result)
                if self._options.save:
                    saved.write(case.group, self.merged(case.group))

    def _expected(self, case: Case) -> dict[str, str]:
        """Every row that should be in the case's table, and who it is about."""
        rows = {row: one.name for one in self._contenders for row in case.rows_of(one)}
        return rows | ({loop: loop for loop in LOOPS} if case.has_loops else {})

    def _is_saved(self, case: Case) -> bool:
        return saved.has(self._before[case.group], case.key, self._expected(case))

    def merged(self, group: str) -> saved.Saved:
        """What is saved with what has been measured. Raises MixedRunsError where the two do not belong together."""
        of_group = [case for case in plan.CASES if case.group == group]
        how: dict[str, Any] = {"generator": generator_version(), "settle_s": SETTLE_S, "warm_up_s": WARM_UP_S}
        how |= {"grpc_connections": CONNECTIONS} if group == BINARY else {"loops": list(LOOPS)}
        packages = (*_PACKAGES[group], "openvino") if find_spec("openvino") else _PACKAGES[group]
        new = machine.describe(packages) | {
            "peers": {name: one for name, one in self._versions.items() if takes_part(name, of_group)},
            "unavailable": {name: why for name, why in self._unavailable.items() if takes_part(name, of_group)},
            "how": how,
            "cases": self._measured[group],
        }
        return saved.merge(self._before[group], new, [case.key for case in of_group])


def takes_part(name: str, cases: Sequence[Case]) -> bool:
    """Whether a peer has something to do in any of the cases."""
    return any(case.admits(one) for one in peer(name, Path()) for case in cases)


def main() -> None:
    """Measure, print, save."""
    options = arguments()
    generator_version()
    started = time.monotonic()
    cases = plan.choose(options.only, options.seconds)
    cases = plan.quick(cases) if options.quick else cases
    comparison = Comparison(options, cases)
    comparison.install()
    if options.save:
        try:
            for group in comparison.groups:
                comparison.merged(group)
        except saved.MixedRunsError as error:
            sys.exit(f"{error} Begin anew with --fresh.")
    names = tuple(dict.fromkeys(case.model for case in cases))
    for model in ensure(names, options.cache / "models").values():
        comparison.run(model)
    print(f"\n{(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
