"""The proof that rows may share a call: found for models whose rows are independent, refused for the others."""

from __future__ import annotations

import pytest
from contract_case import PROVED

from tensorhost.models.warmup import WarmupOptions, warm_up

MAX_ROWS = 8


@pytest.mark.parametrize("iterations", [0, 2])
def test_rows_are_proved_independent_or_refused_with_a_reason(bench, batch_case, iterations):
    runtime = bench.tuned(batch_case)
    options = WarmupOptions(iterations=iterations, max_batch_rows=MAX_ROWS, batching=True, threshold_s=1.0)
    for name, signature in runtime.signatures.items():
        plan = warm_up(runtime, signature, options)
        assert runtime.call_path(name)
        reason = batch_case.proof(name)
        if reason is None:
            continue
        assert (plan.problem, plan.warmed) == ("", True)
        assert plan.batched is (reason == PROVED)
        assert reason in plan.reason
        assert bool(reason) == bool(plan.reason)
        sizes = [1, 2, 4, MAX_ROWS] if plan.batched else [1]
        assert sorted(plan.call_s) == (sizes if iterations else [])
