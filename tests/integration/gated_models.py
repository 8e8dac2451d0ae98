"""A model whose calls take as long as a test wants them to: they end when it makes a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

LEAST_S = 0.25
"""A call that has a file to look for takes no less: too long for the event loop, once."""


def write_gated(tf: Any, folder: Path) -> None:
    """A SavedModel at ``folder``: gate BYTES [-1] → said, the content of the file that the first gate names.

    The call works until there is such a file, at least LEAST_S, at most ten seconds; a name that does not begin with a
    slash, as in warm-up, is none. It fails where the file cannot be read, as one cannot that is a folder.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="gate")])
    def wait(gate):
        name, began_at = gate[0], tf.timestamp()
        is_file = tf.strings.regex_full_match(name, "/.*")

        def goes_on(spun):
            passed_s = tf.timestamp() - began_at
            # Made anew from what changes, so that no optimiser looks for the file once and for all.
            looked_for = tf.strings.regex_replace(tf.strings.join([name, tf.strings.as_string(spun)]), "[0-9]+$", "")
            missing = tf.size(tf.io.matching_files(looked_for)) == 0
            return is_file & (passed_s < 10.0) & ((passed_s < LEAST_S) | missing)

        spun = tf.while_loop(goes_on, lambda spun: (spun + 1,), (tf.constant(0),))[0]
        with tf.control_dependencies([spun]):
            said = tf.cond(is_file, lambda: tf.io.read_file(name), lambda: tf.constant(b"no gate"))
        return {"said": tf.fill(tf.shape(gate), said)}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": wait})
