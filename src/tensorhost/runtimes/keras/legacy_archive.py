"""The weights of a ``.keras`` archive of Keras 2 (2.12 to 2.15), put into the model made from its configuration.

The archive keeps the variables of every object under the path that leads to it, and in a list of layers each under its
class, numbered. Classes may have been replaced in translation, so the paths come from the configuration as Keras 2
wrote it. What must stay true: every weight of the model is set from values of its shape, or the load fails.
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.keras.archive import unpack_member
from tensorhost.runtimes.keras.class_names import VOCABULARY_LAYERS
from tensorhost.runtimes.keras.hdf5 import array
from tensorhost.runtimes.keras.legacy_config import layer_name
from tensorhost.runtimes.keras.legacy_h5 import mismatch
from tensorhost.runtimes.keras.legacy_nodes import MODELS

_LISTS_OF_LAYERS = ("layers", "_layer_checkpoint_dependencies")  # the second in the first versions


class _Place(NamedTuple):
    """An object of the model, its configuration in Keras 2 where known, and its path: empty, or from a slash on."""

    target: Any
    described: dict[str, Any]
    path: str


def load_weights(model: Any, configuration: dict[str, Any], archive: zipfile.ZipFile, file: Any, folder: Path) -> None:
    """Set every weight of the Keras 3 ``model``, and fill its vocabularies.

    Args:
        model: made from ``configuration``.
        configuration: as Keras 2 wrote it.
        archive: the opened archive.
        file: its HDF5 file, opened.
        folder: where files may be unpacked.

    Raises:
        ModelFailedError: the weights do not fit the model; the message names the layer.
        UnsupportedModelError: a vocabulary that Keras 2 did not save as a whole.
    """
    pending = [_Place(model, configuration, "")]
    done: set[int] = set()
    weights = 0
    while pending:
        place = pending.pop()
        if id(place.target) in done:
            continue
        done.add(id(place.target))
        group = file.get(place.path, {}) if place.path else file
        weights += _load_variables(place, group)
        _load_vocabulary(place, archive, folder)
        pending += _layers_of_model(place, group) if _is_model(place) else _parts(place, group)
    if weights != len(model.weights):
        raise mismatch(f"it has {weights} where the model has {len(model.weights)}")


def _is_model(place: _Place) -> bool:
    return place.described.get("class_name") in MODELS


def _load_variables(place: _Place, group: Any) -> int:
    """Set the object's own variables; how many there were."""
    stored = group.get("vars", {})
    values = {name: array(stored[name]) for name in stored}
    if not values and not getattr(place.target, "weights", None):
        return 0
    try:
        place.target.load_own_variables(values)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFailedError(
            f"The weights in the file do not fit its model: those of the layer '{place.target.name}' differ in number "
            "or shape.",
            log_detail=f"{type(error).__name__}: {error}",
        ) from error
    return len(values)


def _load_vocabulary(place: _Place, archive: zipfile.ZipFile, folder: Path) -> None:
    member = f"assets{place.path}/vocabulary.txt"
    if place.described.get("class_name") not in VOCABULARY_LAYERS or member not in archive.namelist():
        return
    settings = place.described["config"]
    if settings.get("output_mode") == "tf_idf" and settings.get("idf_weights") is None:
        raise UnsupportedModelError(
            f"Keras 2 did not save the weights of the vocabulary of the layer '{place.target.name}'. Export the model "
            "as a SavedModel with the Keras it was made with."
        )
    own = folder / f"vocabulary-{len(list(folder.iterdir()))}"
    own.mkdir()
    unpack_member(archive, member, own / "vocabulary.txt")
    place.target.load_assets(str(own))


def _layers_of_model(place: _Place, group: Any) -> Iterator[_Place]:
    settings = place.described["config"]
    described = settings if isinstance(settings, list) else settings["layers"]
    if place.described["class_name"] == "Sequential":
        described = [layer for layer in described if layer["class_name"] != "InputLayer"]
    names = {layer.name: layer for layer in place.target.layers}
    inside = next((name for name in _LISTS_OF_LAYERS if name in group), _LISTS_OF_LAYERS[0])
    numbers: Counter[str] = Counter()
    for layer in described:
        key = _key(str(layer["class_name"]).rpartition(">")[2], numbers)
        name = layer_name(str(layer["name"] if "name" in layer else layer["config"]["name"]))
        if name in names:
            yield _Place(names[name], layer, f"{place.path}/{inside}/{key}")


def _parts(place: _Place, group: Any) -> Iterator[_Place]:
    """Layers within a layer, by the name of the attribute that holds them."""
    settings = place.described.get("config")
    settings = settings if isinstance(settings, dict) else {}
    for name in group:
        part = vars(place.target).get(name)
        described = settings.get("layer" if name in ("forward_layer", "backward_layer") else name)
        if isinstance(part, (list, tuple)):
            numbers: Counter[str] = Counter()
            for item in part:
                yield _Place(item, {}, f"{place.path}/{name}/{_key(type(item).__name__, numbers)}")
        elif hasattr(part, "load_own_variables"):
            yield _Place(part, described if isinstance(described, dict) else {}, f"{place.path}/{name}")


def _key(class_name: str, numbers: Counter[str]) -> str:
    """The name of the next layer of a class in a list: ``conv2d``, ``conv2d_1``."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
    numbers[name] += 1
    return name if numbers[name] == 1 else f"{name}_{numbers[name] - 1}"
