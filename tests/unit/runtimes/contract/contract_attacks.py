"""Models that were made to do harm, by kind: they ask for much memory, lead out of their folder, or never end."""

from __future__ import annotations

from collections.abc import Mapping

from attacks_on_graphs import GRAPHS, SAVED_MODEL
from attacks_on_keras import KERAS, KERAS_H5, LAYERS
from attacks_on_tfjs import TFJS, TFJS_GRAPH
from attacks_on_tflite import TFLITE
from contract_damage import Attack

from tensorhost.runtimes import ModelFormat

FOR_THE_PROBE = {
    (ModelFormat.SAVED_MODEL.value, "a value of forty gigabytes"): "TensorFlow waits ten seconds for the memory",
}
"""Attacks that only a process of its own withstands, and why."""


def made_attacks(kind: str) -> Mapping[str, Attack]:
    """The attacks on models of a kind: a format, or ``tfjs layers``."""
    return _ATTACKS.get(kind, {})


_ATTACKS: Mapping[str, Mapping[str, Attack]] = {
    ModelFormat.TFJS.value: {**TFJS, **TFJS_GRAPH},
    "tfjs layers": {**TFJS, **LAYERS},
    ModelFormat.KERAS.value: KERAS,
    ModelFormat.KERAS_H5.value: KERAS_H5,
    ModelFormat.SAVED_MODEL.value: {**GRAPHS, **SAVED_MODEL},
    ModelFormat.GRAPH_DEF.value: GRAPHS,
    ModelFormat.TFLITE.value: TFLITE,
}
