"""What decides the outcome of trying a model, as a hash.

That is the bytes of its files, how it is loaded and run, the versions of everything that executes it, the processor.

What must stay true: whatever could change the outcome changes the key; where that cannot be promised there is none.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

from tensorhost.core.version import __version__
from tensorhost.models.probe_messages import FirstRuns
from tensorhost.runtimes.base import LoadOptions
from tensorhost.runtimes.cores import usable_cores

_PACKAGES = (
    *("tensorflow", "tensorflow-cpu", "tensorflow-cpu-aws", "tensorflow-intel", "tf-nightly", "tf-nightly-cpu"),
    *("keras", "numpy", "openvino", "openvino-nightly", "ai-edge-litert", "ai-edge-litert-nightly"),
    *("onnxruntime", "onnxruntime-gpu", "tf2onnx", "onnx"),
)
_VARIABLES = ("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
"""Of the environment, that decide what a runtime computes or how fast."""

_MOST_FILES = 10_000


def key_of(path: Path, options: LoadOptions, runs: FirstRuns) -> str:
    """What a trial is kept by; empty where its outcome depends on what cannot be read here. Reads all of the model.

    Args:
        path: a model's file or folder.
        options: how it is loaded.
        runs: how it is run.
    """
    if options.modules or options.model_modules or options.op_libraries or options.allow_lambda:
        return ""  # code of the operator's or of the model's own
    examples = [] if runs.examples is None else [runs.folder / runs.examples]
    digest = hashlib.blake2b(digest_size=20)
    facts = {
        "options": asdict(options),
        "rows": [runs.max_batch_rows, runs.batching, sorted(runs.ranges.items()), runs.records],
        "versions": [__version__, platform.python_version(), *map(_version, _PACKAGES)],
        "environment": {name: os.environ.get(name) for name in _VARIABLES},
        "processor": [platform.machine(), _processor(), usable_cores()],
    }
    digest.update(json.dumps(facts, default=str, sort_keys=True).encode())
    try:
        for name, file in [*_files(path), *(("examples", file) for file in examples)]:
            with file.open("rb") as content:
                digest.update(f"\n{name}\n".encode("utf-8", "backslashreplace"))
                digest.update(hashlib.file_digest(content, hashlib.blake2b).digest())
    except (OSError, ValueError):
        return ""
    return digest.hexdigest()


def _files(path: Path) -> list[tuple[str, Path]]:
    """Every file of the model, with its name in it. Raises ValueError where that cannot be told."""
    if path.is_file():
        if path.suffix == ".json":
            raise ValueError("its weights lie wherever it says")
        return [(path.name, path)]
    found: list[tuple[str, Path]] = []
    for folder, _, names in os.walk(path, followlinks=True):
        found += [(str((Path(folder) / name).relative_to(path)), Path(folder) / name) for name in names]
        if len(found) > _MOST_FILES:
            raise ValueError("too many files")
    return sorted(found)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    """The processor's name and abilities, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
