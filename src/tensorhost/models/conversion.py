"""Converting a model: load it, write it in the other format, load that, compare both, and only then put it in place.

What must stay true: the target appears whole and compared, or not at all; on failure nothing is left behind, and a
target that was to be replaced is as it was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tensorhost.core.errors import InvalidRequestError, ModelFailedError
from tensorhost.core.tensors import Tensors
from tensorhost.models.comparison import BATCH_ROWS, SignatureComparison, compare
from tensorhost.models.examples import read_examples
from tensorhost.models.probe import FirstRuns, Prober
from tensorhost.runtimes.base import LoadOptions, ModelFormat, Runtime, Trust
from tensorhost.runtimes.conversion import refuse_source, write_saved_model, write_tflite, written_format
from tensorhost.runtimes.examination import examine, refuse_untrusted
from tensorhost.runtimes.formats import detect_format, load, missing_files

STEPS = (
    "Trying the model in a child process",
    "Loading it",
    "Writing it",
    "Loading the result",
    "Comparing both",
    "Putting it in place",
)
"""What is told as progress, in this order."""

_TOLERANCE = {ModelFormat.SAVED_MODEL: 1e-5, ModelFormat.TFLITE: 1e-3}


@dataclass(frozen=True, slots=True)
class ConversionRequest:
    """What to convert.

    Attributes:
        source: a model's file, or the folder of one version.
        target: where the result goes; its name says the format.
        options: how the source is loaded.
        replace: put the result in the place of a model that is there.
        folder, examples: the model's folder, and the file with warm-up examples in it; None for made-up inputs.
    """

    source: Path
    target: Path
    options: LoadOptions
    replace: bool = False
    folder: Path | None = None
    examples: str | None = None


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """What was converted, and how it compares.

    Attributes:
        source_format, target_format: what it was and what it became.
        size_bytes: of the result.
        call_path: how the result's default signature is called.
        tolerance: largest difference that was allowed, relative to an output's largest value.
        comparisons: by signature, the default one first.
        left_out: signatures of the source that cannot be served and so are not in the result, with the reason.
    """

    source_format: ModelFormat
    target_format: ModelFormat
    size_bytes: int
    call_path: str
    tolerance: float
    comparisons: tuple[SignatureComparison, ...]
    left_out: Mapping[str, str]


def convert(
    request: ConversionRequest, progress: Callable[[str], None], prober: Prober | None = None
) -> ConversionReport:
    """Convert a model. Blocks for as long as that takes.

    Args:
        request: what to convert.
        progress: told each of STEPS as it begins.
        prober: tries the source before it is loaded here, where a model that crashes its runtime would end the program.

    Raises:
        InvalidRequestError: the target is there already, cannot be replaced, or has a name of another format.
        ModelFailedError: the source cannot be trusted, loaded or converted, or the result computes something else.
        RuntimeMissingError: a package that is needed to load or to check is not installed.
    """
    source_format = _check(request)
    target_format = written_format(request.target)
    # First of all, since finding out that nothing can be written there is cheap, and the rest is not.
    with _workplace(request.target) as folder:
        progress(STEPS[0])
        if request.options.trust is Trust.STRICT:
            refuse_untrusted(examine(request.source, request.options), request.options)
        runs = FirstRuns(request.folder or request.source, request.examples, max(BATCH_ROWS))
        if prober is not None and prober.probe(request.source, request.options, runs).crash:
            request = replace(request, options=replace(request.options, remapping=False))
        result, report = _convert(request, source_format, target_format, folder, progress)
        progress(STEPS[5])
        _put_in_place(result, request.target, folder)
    return report


def _check(request: ConversionRequest) -> ModelFormat:
    """Whatever can be refused before anything is loaded; the source's format."""
    written_format(request.target)
    source_format = detect_format(request.source)
    if source_format is None:
        raise InvalidRequestError(f"There is no model at {request.source}.")
    refuse_source(source_format)
    if missing := missing_files(request.source, source_format):
        raise ModelFailedError(f"The model is not whole: {', '.join(missing)}.")
    if os.path.lexists(request.target):
        _check_replaceable(request)
    return source_format


def _check_replaceable(request: ConversionRequest) -> None:
    target = request.target
    if not request.replace:
        raise InvalidRequestError(f"{target} exists already; --force replaces it.")
    if request.source.resolve().is_relative_to(target.resolve()):
        raise InvalidRequestError(f"{target} holds the model that is to be converted, so it cannot be replaced.")
    wanted = written_format(target)
    is_model = target.is_file() or (wanted is ModelFormat.SAVED_MODEL and (target / "saved_model.pb").is_file())
    if target.is_dir() == (wanted is ModelFormat.TFLITE) or not is_model:
        raise InvalidRequestError(f"{target} is no model of the format to be written, so it is not replaced.")


def _convert(
    request: ConversionRequest,
    source_format: ModelFormat,
    target_format: ModelFormat,
    folder: Path,
    progress: Callable[[str], None],
) -> tuple[Path, ConversionReport]:
    """The result in ``folder``, compared."""
    progress(STEPS[1])
    with contextlib.ExitStack() as stack:
        reference = load(request.source, request.options)
        stack.callback(reference.close)
        progress(STEPS[2])
        result = _write(reference, request.options, target_format, folder)
        progress(STEPS[3])
        other = load(result, request.options)
        stack.callback(other.close)
        progress(STEPS[4])
        tolerance = _TOLERANCE[target_format]
        comparisons = _compare(reference, other, _examples(request, reference), tolerance)
        report = ConversionReport(
            source_format,
            target_format,
            _size_bytes(result),
            other.call_path(next(iter(reference.signatures))),
            tolerance,
            comparisons,
            dict(reference.refused_signatures),
        )
    return result, report


def _write(reference: Runtime, options: LoadOptions, target_format: ModelFormat, folder: Path) -> Path:
    saved_model = folder / "saved_model"
    write_saved_model(reference, saved_model, options)
    if target_format is ModelFormat.SAVED_MODEL:
        return saved_model
    file = folder / "model.tflite"
    write_tflite(saved_model, file, options)
    return file


def _examples(request: ConversionRequest, reference: Runtime) -> dict[str, list[Tensors]]:
    return {} if request.folder is None else read_examples(request.folder, request.examples, reference.signatures)


def _compare(
    reference: Runtime, other: Runtime, examples: Mapping[str, list[Tensors]], tolerance: float
) -> tuple[SignatureComparison, ...]:
    """Every signature, compared. Raises ModelFailedError where one is missing or differs, or none could be compared."""
    for name in reference.signatures:
        if name not in other.signatures:
            reason = other.refused_signatures.get(name, "it is not there")
            raise ModelFailedError(f"The result cannot serve the signature '{name}': {reason}.")
    found = tuple(
        compare(reference, other, signature, examples.get(name, ()), tolerance)
        for name, signature in reference.signatures.items()
    )
    if not any(comparison.calls for comparison in found):
        raise ModelFailedError(f"The result could not be compared with the model: {found[0].note}.")
    return found


@contextlib.contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target``, which a server that watches the place does not look into. Gone afterwards."""
    made: list[Path] = []
    try:
        for parent in reversed([parent for parent in target.absolute().parents if not parent.exists()]):
            parent.mkdir()
            made.append(parent)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.absolute().parent))
    except OSError as error:
        _remove_empty(made)
        raise InvalidRequestError(f"{target} cannot be written: {error.strerror}.") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _remove_empty(made)


def _remove_empty(folders: list[Path]) -> None:
    """Remove those of ``folders`` that hold nothing: all after a failure, none when the target is in place."""
    with contextlib.suppress(OSError):
        for folder in reversed(folders):
            folder.rmdir()


def _put_in_place(result: Path, target: Path, workplace: Path) -> None:
    """Rename ``result`` to ``target``; what was there comes back when that fails. A file is replaced in one move."""
    try:
        if result.is_file() or not os.path.lexists(target):
            result.replace(target)
            return
        replaced = workplace / "replaced"
        target.rename(replaced)
        try:
            result.rename(target)
        except BaseException:
            replaced.rename(target)
            raise
    except OSError as error:
        raise InvalidRequestError(f"{target} cannot be written: {error.strerror}.") from error


def _size_bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
