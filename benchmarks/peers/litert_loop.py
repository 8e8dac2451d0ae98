"""LiteRT by itself: calls a model in a loop and prints ``{"rows_s": ..., "answers": [...]}``.

``python litert_loop.py MODEL ROWS_FILE SECONDS THREADS``, with the rows as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main() -> None:
    """Resize once, warm up, then set, invoke and get until the time is up."""
    model, rows_file, seconds, threads = sys.argv[1:]
    rows = np.array(json.loads(Path(rows_file).read_text(encoding="utf-8")), np.float32)
    interpreter = Interpreter(model_path=model, num_threads=int(threads))
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(source, rows.shape)
    interpreter.allocate_tensors()

    def call() -> np.ndarray:
        interpreter.set_tensor(source, rows)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    answers = [call() for _ in range(3)][-1]
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < float(seconds):
        call()
        calls += 1
    rows_s = calls * len(rows) / (time.perf_counter() - started)
    print(json.dumps({"rows_s": rows_s, "answers": answers.tolist()}))


if __name__ == "__main__":
    main()
