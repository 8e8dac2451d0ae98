"""Damaged and hostile files of every format: refused with a clear word, quickly, in bounded memory; or they run.

Each kind is met by a process of its own, so that a file that kills it is a failure with a name. With more seeds, and
with what is FOR_THE_PROBE, the same script is run by hand.
"""

from __future__ import annotations

import pytest
from contract_attacks import FOR_THE_PROBE, made_attacks
from contract_background import GROUPS, LONGEST_S, json_lines

from tensorhost.core.errors import ErrorCode

SLOWEST_S, MOST_MIB = 10, 700
CODES = {ErrorCode.MODEL_FAILED.value, ErrorCode.OUT_OF_MEMORY.value}


@pytest.mark.timeout(LONGEST_S + 20)
@pytest.mark.parametrize("kind", [kind for group in GROUPS for kind in group])
def test_hostile_files_do_no_harm(background, kind):
    done = background[kind].result(LONGEST_S)
    lines = json_lines(done.stdout)
    assert done.returncode == 0, f"killed by {lines[-1:]}: {done.stderr[-2000:]}"
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
