"""Which weight goes where."""

from __future__ import annotations

import numpy as np
import pytest

from tensorhost.core.errors import ModelFailedError
from tensorhost.runtimes.tfjs.layers_weights import Owner, WeightStore


def store(*names, shape=(2,)):
    return WeightStore({name: np.full(shape, index, np.float32) for index, name in enumerate(names)})


def taken(weights, scope, name, position=0, around=()):
    return int(weights.take(Owner(tuple(scope.split("|")), around), name, position, (2,))[0])


def test_by_name():
    assert taken(store("other/kernel", "dense/kernel"), "dense", "kernel") == 1


def test_names_of_layers_may_have_slashes():
    assert taken(store("kernel", "a/b/kernel"), "a/b", "kernel") == 1


def test_name_of_the_cell_is_left_out():
    weights = store("rnn/gru_cell/kernel", "rnn/gru_cell/bias")
    assert taken(weights, "rnn", "bias", 2) == 1


def test_models_around_tell_equal_names_apart():
    weights = store("one/dense/kernel", "two/dense/kernel")
    assert taken(weights, "dense", "kernel", around=("two",)) == 1
    assert taken(weights, "dense", "kernel", around=("one",)) == 0


def test_numbered_names_by_order():
    weights = store("a/vars/0", "a/vars/1", "b/vars/0", "b/vars/1")
    assert taken(weights, "b", "bias", 1) == 3
    assert taken(weights, "b", "kernel", 0) == 2


def test_directions_of_a_bidirectional_by_order():
    weights = store("both/backward_layer/cell/vars/0", "both/forward_layer/cell/vars/0")
    assert taken(weights, "both|forward_gru", "kernel") == 1
    assert taken(weights, "both|backward_gru", "kernel") == 0


def test_none_is_used_twice():
    weights = store("dense/kernel")
    taken(weights, "dense", "kernel")
    with pytest.raises(ModelFailedError, match="lacks the weight 'dense/kernel'"):
        taken(weights, "dense", "kernel")


def test_weights_of_another_layer_are_not_used():
    with pytest.raises(ModelFailedError, match="lacks the weight 'b/kernel' of shape"):
        taken(store("a/kernel"), "b", "kernel")


def test_whole_numbers_become_floats_and_text_does_not():
    numbers = WeightStore({"d/k": np.array([1, 2], np.int32), "d/text": np.array([b"a", b"b"], object)})
    assert numbers.take(Owner(("d",)), "k", 0, (2,)).dtype == np.float32
    with pytest.raises(ModelFailedError, match="'d/text' does not hold real numbers"):
        numbers.take(Owner(("d",)), "text", 1, (2,))


def test_leftovers_are_named_up_to_five():
    weights = store(*(f"w{index}/kernel" for index in range(8)))
    with pytest.raises(ModelFailedError, match=r"'w0/kernel', .*'w4/kernel' and 3 more"):
        weights.check_empty()


def test_nothing_left():
    weights = store("dense/kernel")
    taken(weights, "dense", "kernel")
    weights.check_empty()
