"""The graph of a SavedModel that serves, and how it begins: what is loaded is what is examined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.tensorflow.graph_scan import node_name
from tensorhost.runtimes.tensorflow.signature_defs import INIT_SIGNATURE

_MAX_BYTES = 2**31 - 1
_ASSETS = "saved_model_assets"
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")


def read_meta_graph(tf: Any, path: Path, tags: Sequence[str]) -> Any:
    """The MetaGraphDef to serve of the SavedModel in the folder ``path``.

    It is the one with these ``tags`` and no others, else with these among its tags, else the only one.

    Raises ModelFailedError when the file is damaged, too large, or no graph is meant for serving.
    """
    from tensorflow.python.saved_model import loader_impl

    _check_size(path)
    try:
        meta_graphs = list(loader_impl.parse_saved_model(str(path)).meta_graphs)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ModelFailedError("saved_model.pb cannot be read: it is damaged.", log_detail=str(error)) from error
    wanted = set(tags)
    there = [sorted(meta_graph.meta_info_def.tags) for meta_graph in meta_graphs]
    for fits in (lambda its: its == wanted, lambda its: its >= wanted, lambda _: len(there) == 1):
        for meta_graph, its in zip(meta_graphs, there, strict=True):
            if fits(set(its)):
                return meta_graph
    if not there:
        raise ModelFailedError("saved_model.pb holds no graph.")
    listed = "; ".join(", ".join(its) or "(none)" for its in there)
    raise ModelFailedError(
        f"None of the model's {len(there)} graphs is tagged '{', '.join(tags)}'; their tags are: {listed}.",
        details={"tags": there},
    )


def _check_size(path: Path) -> None:
    """Raise UnsupportedModelError before a file is read that TensorFlow cannot have written."""
    for name in ("saved_model.pb", "saved_model.pbtxt"):
        file = path / name
        if file.is_file() and file.stat().st_size > _MAX_BYTES:
            raise UnsupportedModelError(f"{name} is larger than 2 GB, which no graph can be.")


def initialiser_of(meta_graph: Any) -> str | None:
    """The node that fills tables and other resources after variables are restored."""
    if INIT_SIGNATURE in meta_graph.signature_def:
        return node_name(meta_graph.signature_def[INIT_SIGNATURE].outputs[INIT_SIGNATURE].name)
    for key in _INIT_COLLECTIONS:
        if key in meta_graph.collection_def and (values := meta_graph.collection_def[key].node_list.value):
            return node_name(values[0])
    return None


def assets_of(meta_graph: Any) -> list[Any]:
    """The AssetFileDefs: which tensors the initialiser is fed with the path of which file.

    TensorFlow 1 kept them in a collection, which counts where there are no others.
    """
    from tensorflow.core.protobuf import meta_graph_pb2

    if meta_graph.asset_file_def or _ASSETS not in meta_graph.collection_def:
        return list(meta_graph.asset_file_def)
    packed = meta_graph.collection_def[_ASSETS].any_list.value
    assets = [(item, meta_graph_pb2.AssetFileDef()) for item in packed]
    return [asset for item, asset in assets if item.Unpack(asset)]
