"""A process that meets hostile models one after the other and reports what became of each, a line of JSON per model.

Run as ``python contract_victim.py SCRATCH FLIPS SOME START KIND MODEL [KIND MODEL …]``: of the damage with ``FLIPS``
seeds of turned bits, ``SOME`` are done of each kind (all for 0, and then what is FOR_THE_PROBE too). A line with
``begins`` comes before a model is touched, so that whoever reads knows which one killed the process; ``START`` leaves
out those before it.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from contract_attacks import FOR_THE_PROBE, made_attacks
from contract_damage import SECRET, copy, damage, root_of, some

from tensorhost.core.errors import TensorhostError
from tensorhost.core.signatures import Signature
from tensorhost.models.synthesis import candidates
from tensorhost.runtimes import LoadOptions, Runtime, detect_format, examine, load, missing_files

MEMORY_BYTES = 8 * 2**30
"""Address space of the process: more is refused, so that a model cannot take the machine."""

INDISCREET = re.compile(
    "|".join(re.escape(place) for place in (tempfile.gettempdir(), sys.prefix))
    + r"|Traceback|\n|\x1b|<class |<tf\.| object at 0x|NoneType|\b[A-Z][A-Za-z]*(?:Error|Exception)\b"
)
"""What no message for a client may hold."""


def main() -> None:
    scratch = Path(sys.argv[1])
    flips, count, start = (int(number) for number in sys.argv[2:5])
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for kind, model in zip(sys.argv[5::2], sys.argv[6::2], strict=True):
        attack_all(kind, Path(model), scratch / kind, flips, count, start)


def attack_all(kind: str, model: Path, scratch: Path, flips: int, count: int, start: int) -> None:
    """Meet every attack on one model, but for the first ``start``."""
    options = LoadOptions(intra_op_threads=1, inter_op_threads=1)
    meet(copy(model, scratch / "whole"), options)  # what importing costs is no attack's
    made = {
        name: attack for name, attack in made_attacks(kind).items() if not count or (kind, name) not in FOR_THE_PROBE
    }
    attacks = made | some(damage(model, range(flips)), count)
    for index, (name, attack) in list(enumerate(attacks.items()))[start:]:
        say(kind=kind, index=index, begins=name)
        folder = scratch / str(index)
        spoilt = attack(copy(model, folder / "parent" / root_of(model).name))
        before = peak_mib()
        started = time.perf_counter()
        outcome = meet(spoilt, options)
        say(
            kind=kind,
            index=index,
            name=name,
            seconds=round(time.perf_counter() - started, 2),
            grown_mib=peak_mib() - before,
            leaked=(folder / SECRET).exists() or Path(tempfile.gettempdir(), SECRET).exists(),
            **outcome,
        )
        shutil.rmtree(folder, ignore_errors=True)


def meet(path: Path, options: LoadOptions) -> dict[str, Any]:
    """Do with the model at ``path`` what a server does; what came of it."""
    try:
        found = detect_format(path)
        missing = [] if found is None else missing_files(path, found)
        answers = try_out(path, options)
    except TensorhostError as error:
        return {
            "outcome": "refused",
            "code": error.code.value,
            "message": error.message,
            "log_detail": str(error.log_detail)[:500],
            "discreet": not INDISCREET.search(error.message),
        }
    except BaseException:  # noqa: BLE001  # whatever is no error of ours is what this process looks for
        return {"outcome": "fault", "message": traceback.format_exc()[-1500:]}
    return {"outcome": "answered", "message": "; ".join(answers), "missing": missing}


def try_out(path: Path, options: LoadOptions) -> list[str]:
    """Examine and load the model, and call every signature; what each said."""
    examine(path, options)
    runtime = load(path, options)
    try:
        return [call(runtime, signature) for signature in runtime.signatures.values()]
    finally:
        runtime.close()


def call(runtime: Runtime, signature: Signature) -> str:
    """Call once with made-up inputs, of another kind if the model refuses the first."""
    said = "no inputs"
    for number, candidate in enumerate(candidates(signature)):
        try:
            runtime.run(signature.name, candidate.rows(2))
        except TensorhostError as error:
            if INDISCREET.search(error.message):
                raise AssertionError(f"indiscreet while running: {error.message}") from error
            said = error.message
            if number < 2:
                continue
            return said
        return "ran"
    return said


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
