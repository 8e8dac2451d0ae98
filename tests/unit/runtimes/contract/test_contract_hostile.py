"""Damaged and hostile files of every format: refused with a clear word, quickly, in bounded memory; or they run.

Each kind is met by a process of its own, so that a file that kills it is a failure with a name. With more seeds, and
with what is FOR_THE_PROBE, the same script is run by hand.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from contract_attacks import FOR_THE_PROBE, made_attacks
from contract_cases import DATA

from tensorhost.core.errors import ErrorCode
from tensorhost.demo import demo_models_path

HERE = Path(__file__).parent
FLIPS, SOME = 60, 20
SLOWEST_S, MOST_MIB, LONGEST_S = 10, 700, 110
CODES = {ErrorCode.MODEL_FAILED.value, ErrorCode.OUT_OF_MEMORY.value}
GROUPS = (("tfjs layers", "keras"), ("saved_model", "graph_def", "tfjs"), ("keras_h5",), ("tflite",))
"""Kinds that one process meets, the longest first: importing a framework takes as long as many attacks."""

KINDS = [kind for group in GROUPS for kind in group]


@pytest.fixture(scope="module")
def reports(contract_graphs, contract_keras, contract_tflite, tmp_path_factory):
    """What became of the attacks on a model of each kind, two processes at a time; the same bytes in every run."""
    folder = tmp_path_factory.mktemp("victims")
    models = {
        "saved_model": demo_models_path() / "digits" / "1",
        "keras": demo_models_path() / "wine" / "1" / "model.keras",
        "tfjs": DATA / "tfjs" / "graph" / "fused_in_functions" / "model.json",
        "tfjs layers": DATA / "tfjs" / "layers" / "dense_sequential" / "model.json",
    }
    for kind, file in (
        ("graph_def", contract_graphs / "linear.pb"),
        ("keras_h5", contract_keras / "dense.h5"),
        ("tflite", contract_tflite / "centred.tflite"),
    ):
        (folder / "models" / kind).mkdir(parents=True)
        models[kind] = Path(shutil.copy(file, folder / "models" / kind))
    with ThreadPoolExecutor(2) as pool:
        done = {group: pool.submit(attack, group, models, folder / group[0] / "scratch") for group in GROUPS}
        yield {kind: done[group] for group in GROUPS for kind in group}


def attack(group: tuple[str, ...], models: dict[str, Path], scratch: Path) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, lines and standard error of the process that met the attacks."""
    scratch.mkdir(parents=True)
    places = [str(HERE), str(HERE.parent)]
    environment = {"PYTHONPATH": os.pathsep.join(places), "TMPDIR": str(scratch), "TF_CPP_MIN_LOG_LEVEL": "3"}
    pairs = [part for kind in group for part in (kind, models[kind])]
    command = [sys.executable, HERE / "contract_victim.py", scratch, FLIPS, SOME, 0, *pairs]
    done = subprocess.run(
        [str(part) for part in command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done.returncode, lines, done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_files_do_no_harm(reports: dict[str, Future[Any]], kind):
    exit_code, lines, errors = reports[kind].result(LONGEST_S)
    assert exit_code == 0, f"killed by {lines[-1:]}: {errors[-2000:]}"
    begun = [line["begins"] for line in lines if "begins" in line and line["kind"] == kind]
    results = {line["name"]: line for line in lines if "outcome" in line and line["kind"] == kind}
    assert list(results) == begun
    assert set(made_attacks(kind)) - set(begun) == {name for of, name in FOR_THE_PROBE if of == kind}
    for name, result in results.items():
        assert result["outcome"] in ("refused", "answered"), (name, result)
        assert result["seconds"] < SLOWEST_S, (name, result)
        assert result["grown_mib"] < MOST_MIB, (name, result)
        assert not result["leaked"], name
        if result["outcome"] == "refused":
            assert result["code"] in CODES, (name, result)
            assert result["discreet"], (name, result)
    refused = [name for name, result in results.items() if result["outcome"] == "refused"]
    assert len(refused) > len(results) / 2
