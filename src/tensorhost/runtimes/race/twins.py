"""Signatures that are the same graph under two names, as Keras writes them: what holds for one holds for the other.

What must stay true: in doubt two signatures differ, since then each is merely looked at by itself.
"""

from __future__ import annotations

import hashlib
from typing import Any

from tensorhost.core.signatures import Signature
from tensorhost.runtimes.base import Runtime
from tensorhost.runtimes.tensorflow.graph_scan import node_name
from tensorhost.runtimes.tensorflow.session import ServedGraph, SessionRuntime


def twins(runtime: Runtime) -> dict[str, str]:
    """Signatures of a loaded model that compute what an earlier one does, by name, with the earlier one's name."""
    if not isinstance(runtime, SessionRuntime) or len(runtime.signatures) == 1:
        return {}
    graph = _Graph(runtime.served_graph)
    first: dict[tuple[str, str], str] = {}
    found = {}
    for name, signature in runtime.signatures.items():
        key = (_contract(signature), graph.digest_of(name))
        if first.setdefault(key, name) != name:
            found[name] = first[key]
    return found


def _contract(signature: Signature) -> str:
    return repr([(name, spec) for specs in (signature.inputs, signature.outputs) for name, spec in specs.items()])


class _Graph:
    """Digests of what tensors are computed by, whatever nodes and functions are called."""

    def __init__(self, served: ServedGraph) -> None:
        self._served = served
        graph_def = served.session.graph.as_graph_def()
        self._nodes = {node.name: node for node in graph_def.node}
        self._functions = {function.signature.name: function for function in graph_def.library.function}
        self._bodies: dict[str, bytes] = {}

    def digest_of(self, signature: str) -> str:
        bound = self._served.bound(signature)
        known = {node_name(feed): f"input {number}".encode() for number, feed in enumerate(bound.feeds)}
        parts = [self._tensor(fetch, known) for fetch in bound.fetches]
        return hashlib.blake2b(b"".join(parts)).hexdigest()

    def _tensor(self, tensor: str, known: dict[str, bytes]) -> bytes:
        """The digest of a tensor; ``known`` has those of nodes. Without recursion: graphs are deep."""
        waiting = [node_name(tensor)]
        while waiting:
            name = waiting[-1]
            node = self._nodes[name]
            missing = [source for source in map(node_name, node.input) if source not in known]
            if name in known or not missing:
                waiting.pop()
                known.setdefault(name, self._node(node, known))
            elif any(source in waiting for source in missing):
                known[missing[0]] = missing[0].encode()  # a loop: told apart by its names
            else:
                waiting.extend(missing)
        return hashlib.blake2b(known[node_name(tensor)] + tensor.partition(":")[2].encode()).digest()

    def _node(self, node: Any, known: dict[str, bytes]) -> bytes:
        digest = hashlib.blake2b(node.op.encode())
        for source in node.input:
            digest.update(known[node_name(source)] + source.partition(":")[2].encode() + source[:1].encode())
        self._add_attributes(digest, node)
        return digest.digest()

    def _add_attributes(self, digest: Any, node: Any) -> None:
        for key in sorted(node.attr):
            if key.startswith("_"):
                continue
            value = node.attr[key]
            digest.update(key.encode())
            if value.HasField("func"):
                digest.update(self._body(value.func.name))
            else:
                digest.update(value.SerializeToString(deterministic=True))

    def _body(self, name: str) -> bytes:
        """The digest of a function: of its nodes in their order, and of the functions that these call."""
        if name in self._bodies:
            return self._bodies[name]
        self._bodies[name] = name.encode()  # one that calls itself is told by its name
        function = self._functions.get(name)
        if function is None:
            return self._bodies[name]
        digest = hashlib.blake2b()
        for kind in (function.signature.input_arg, function.signature.output_arg):
            digest.update(b"".join(argument.SerializeToString(deterministic=True) for argument in kind))
        for key in sorted(function.ret):
            digest.update(f"{key} {function.ret[key]}".encode())
        for node in function.node_def:
            digest.update(f"{node.name} {node.op} {list(node.input)}".encode())
            self._add_attributes(digest, node)
        self._bodies[name] = digest.digest()
        return self._bodies[name]
