import sys
import threading

import pytest

from tensorhost.batching import own_time
from tensorhost.batching.own_time import OwnTime, Use, use_of_this_thread


@pytest.mark.parametrize(
    ("after", "own_s"),
    [
        (Use(1.25, 5, 8), 0.25),  # stopped, and ran otherwise
        (Use(1.25, 6, 8), 2.0),  # stopped, and waited as well: for how long is not known
        (Use(1.25, 6, 7), 2.0),  # waited
        (Use(1.25, 5, 7), 2.0),  # neither, as where nothing is counted
        (Use(9.0, 5, 8), 2.0),  # clocks differ
    ],
)
def test_only_what_was_surely_taken_away_is_left_out(monkeypatch, after, own_s):
    uses = [Use(1.0, 5, 7), after]
    monkeypatch.setattr(own_time, "use_of_this_thread", lambda: uses.pop(0))
    assert OwnTime().of(2.0) == own_s


def test_a_thread_that_waits_is_known_to_have_waited():
    before = use_of_this_thread()
    for _ in range(100):
        other = threading.Thread(target=int)
        other.start()
        other.join()
    now = use_of_this_thread()
    counts = sys.platform == "linux"
    assert ((now.waits > before.waits), (now.processor_s > before.processor_s)) == (counts, counts)
