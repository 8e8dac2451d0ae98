"""tensorhost and the servers a user could install instead, on the same models, bodies and cores, taking turns.

Run: ``python -m benchmarks.compare [--save] [--only MODEL] [--peers a,b] [--rounds N] [--seconds N] [--quick]``. About
25 minutes for everything; the first run also builds the models and an environment for every peer under ``--cache``
(five minutes, twelve gigabytes). With ``--save`` each case is merged into ``results/compare.json`` when it is done, so
that a part can be measured anew and a run that was ended can go on with ``--resume``.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.compare import plan, saved
from benchmarks.compare.plan import Case
from benchmarks.compare.report import print_case
from benchmarks.compare.rounds import measure_case
from benchmarks.compare.turns import LOOPS, SETTLE_S, WARM_UP_S, Participant, ServerParticipant, run_loops
from benchmarks.contenders import Contender, all_of_ours, peer, tensorhost
from benchmarks.load import generator_version
from benchmarks.models import DEFAULT_CACHE, Model, ensure
from benchmarks.peers import environment
from benchmarks.servers import run_servers


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help=f"merge what is measured into {saved.RESULT.name}")
    parser.add_argument("--fresh", action="store_true", help="forget what is saved; needed on another machine")
    parser.add_argument("--resume", action="store_true", help="leave out what is saved already")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where models and environments are kept")
    parser.add_argument("--only", choices=plan.MODELS, help="one model's cases")
    parser.add_argument("--peers", help="some of the peers, by comma, or none: " + ",".join(environment.PEERS))
    parser.add_argument("--ours", metavar="NAME=FLAGS", action="append", default=[], help="also tensorhost with FLAGS")
    parser.add_argument("--rounds", type=int, default=2, help="how often everybody takes a turn")
    parser.add_argument("--seconds", type=int, help="how long every turn takes")
    parser.add_argument("--quick", action="store_true", help="one round of a second, few cases: does everything run?")
    options = parser.parse_args()
    options.peers = [] if options.peers == "none" else (options.peers or ",".join(environment.PEERS)).split(",")
    if unknown := set(options.peers) - environment.PEERS.keys():
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return options


class Comparison:
    """One run: who takes part, and what has been measured so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._before = None if options.fresh else saved.read()
        self._contenders: list[Contender] = list(all_of_ours())
        for named in options.ours:
            name, _, flags = named.partition("=")
            self._contenders.append(tensorhost(*shlex.split(flags), name=name))
        self.unavailable: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self._cases: list[dict[str, Any]] = []

    def install(self) -> None:
        """Make the peers' environments; those that cannot be made are left out, and said to be."""
        for name in self._options.peers:
            try:
                python = environment.ensure(name, self._options.cache / "peers")
            except environment.PeerMissingError as error:
                self.unavailable[name] = str(error)
                continue
            self.versions[name] = environment.versions(name, python)
            self._contenders += peer(name, python)

    def run(self, model: Model, cases: Sequence[Case]) -> None:
        """Every case of one model, on one set of running servers."""
        if self._options.resume:
            cases = [case for case in cases if not saved.has(self._before, case.key, self._expected(case))]
        if not cases:
            return
        contenders = [one for one in self._contenders if any(case.admits(one) for case in cases)]
        failures: dict[str, str] = {}
        with (
            tempfile.TemporaryDirectory() as scratch,
            run_servers(contenders, model, failures=failures) as servers,
            run_loops(model, failures) as loops,
        ):
            everyone: list[Participant] = [*(ServerParticipant(one, Path(scratch)) for one in servers), *loops]
            for one in everyone:
                one.warm_up()
            for case in cases:
                result = measure_case(case, everyone, self._options.rounds)
                absent = failures.keys() & set(self._expected(case))
                result["servers"] |= {name: {"failed": failures[name]} for name in sorted(absent)}
                print_case(str(case), result)
                self._cases.append(result)
                if self._options.save:
                    saved.write(self.merged())

    def _expected(self, case: Case) -> list[str]:
        """Everybody who should be in the case's table."""
        loops = LOOPS if case.has_loops else ()
        return [*(one.name for one in self._contenders if case.admits(one)), *loops]

    def merged(self) -> saved.Saved:
        """What is saved with what has been measured. Raises MixedRunsError where the two do not belong together."""
        how = {"generator": generator_version(), "settle_s": SETTLE_S, "warm_up_s": WARM_UP_S, "loops": list(LOOPS)}
        packages = (*machine.PACKAGES, "openvino") if find_spec("openvino") else machine.PACKAGES
        new = machine.describe(packages) | {"peers": self.versions, "unavailable": self.unavailable, "how": how}
        order = [case.key for case in plan.CASES]
        return saved.merge(self._before, new | {"cases": self._cases}, order)


def main() -> None:
    """Measure, print, save."""
    options = arguments()
    generator_version()
    started = time.monotonic()
    comparison = Comparison(options)
    comparison.install()
    if options.save:
        try:
            comparison.merged()
        except saved.MixedRunsError as error:
            sys.exit(f"{error} Begin anew with --fresh.")
    cases = plan.choose(options.only, options.seconds)
    cases = plan.quick(cases) if options.quick else cases
    names = tuple(dict.fromkeys(case.model for case in cases))
    models = ensure(names, options.cache / "models")
    for name in names:
        comparison.run(models[name], [case for case in cases if case.model == name])
    print(f"\n{(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
