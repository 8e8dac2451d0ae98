"""A load shared by several generators is the same load, and a plan survives its journey as JSON."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.bench.plan import HttpTarget, Load, ModelTarget, Plan


@given(st.integers(1, 8), st.integers(8, 500), st.none() | st.integers(1, 10_000), st.none() | st.floats(1, 1e6))
def test_the_shares_add_up(count, concurrency, requests, rate):
    load = Load(concurrency, rate=rate, requests=requests)
    shares = [load.share(index, count) for index in range(count)]
    assert sum(share.concurrency for share in shares) == concurrency
    assert min(share.concurrency for share in shares) >= 1
    if requests is not None:
        assert sum(share.requests for share in shares) == requests
    if rate is not None:
        assert sum(share.rate for share in shares) == pytest.approx(rate)
        # Together they are due at even intervals.
        due = sorted(share.first_s + number / share.rate for share in shares for number in range(3))
        gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
        assert gaps == pytest.approx([1 / rate] * len(gaps), rel=1e-6)


@pytest.mark.parametrize(
    "target", [HttpTarget("h", 1, "POST / HTTP/1.1\r\n\r\n"), ModelTarget("m", bare=True, settings={"trust": "strict"})]
)
def test_a_plan_travels_as_json(target):
    plan = Plan(target, (Load(1), Load(32, rate=10.5, duration_s=None, requests=7)))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
