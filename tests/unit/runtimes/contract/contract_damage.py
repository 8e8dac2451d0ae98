"""Damage done to the files of any model: cut short, bits turned over, something else in their place."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Attack = Callable[[Path], Path]
"""Spoils the copy of a model at the path, and gives the path to load."""

SECRET = "secret.bin"
"""A file beside the model's folder that no attack must reach or write."""

CUTS = (0, 1, 7, 64, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.95, -8, -1)


def damage(model: Path, flips: range) -> Mapping[str, Attack]:
    """Every damage of the model at ``model``, by name: the same for the same files.

    Args:
        model: a file or a folder; other files beside a file belong to it.
        flips: the seeds of turned bits.
    """
    attacks = {f"cut {file} at {cut}": _cut(file, cut) for file in files_of(model) for cut in CUTS}
    attacks |= {f"flip {seed}": _flip(seed) for seed in flips}
    attacks |= {f"noise {seed}": _noise(seed) for seed in flips[::4]}
    attacks |= {f"{name} for {file}": _replace(file, put) for file in files_of(model) for name, put in _PUT.items()}
    return attacks


def files_of(model: Path) -> list[str]:
    """The model's files relative to its folder, in order."""
    root = root_of(model)
    files = sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())
    return [name for name in files if not name.endswith(("fingerprint.pb", "reference.json"))]


def root_of(model: Path) -> Path:
    """The folder of everything that belongs to a model."""
    return model if model.is_dir() else model.parent


def copy(model: Path, folder: Path) -> Path:
    """A copy of the model in ``folder``; the path to load."""
    root = root_of(model)
    shutil.copytree(root, folder)
    return folder / model.relative_to(root)


def _cut(name: str, kept: float) -> Attack:
    def attack(model: Path) -> Path:
        file = root_of(model) / name
        content = file.read_bytes()
        file.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
        return model

    return attack


def _flip(seed: int) -> Attack:
    """One to three bits, anywhere."""

    def attack(model: Path) -> Path:
        rng = np.random.default_rng(seed)
        for _ in range(1 + seed % 3):
            file, content = _pick(model, rng)
            content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
            file.write_bytes(content)
        return model

    return attack


def _noise(seed: int) -> Attack:
    """A run of bytes replaced, all alike or at random."""

    def attack(model: Path) -> Path:
        rng = np.random.default_rng((seed, 1))
        file, content = _pick(model, rng)
        start = int(rng.integers(len(content)))
        length = min(int(rng.integers(1, 33)), len(content) - start)
        fill = (bytes(length), b"\xff" * length, rng.bytes(length))[seed % 3]
        content[start : start + length] = fill
        file.write_bytes(content)
        return model

    return attack


def _pick(model: Path, rng: np.random.Generator) -> tuple[Path, bytearray]:
    root = root_of(model)
    names = files_of(model)
    file = root / names[rng.integers(len(names))]
    return file, bytearray(file.read_bytes())


def _replace(name: str, put: Callable[[Path], None]) -> Attack:
    def attack(model: Path) -> Path:
        file = root_of(model) / name
        file.unlink()
        put(file)
        return model

    return attack


def _loop(file: Path) -> None:
    file.symlink_to(file)


def _unreadable(file: Path) -> None:
    file.write_bytes(b"")
    file.chmod(0)


_PUT: Mapping[str, Callable[[Path], None]] = {
    "nothing": lambda file: None,
    "a folder": lambda file: file.mkdir(),
    "zeros": lambda file: _write(file, bytes(4096)),
    "text": lambda file: _write(file, b'{"a": [1, 2, 3]}'),
    "a link to itself": _loop,
    "a link to nothing": lambda file: file.symlink_to(file.parent / "nothing here"),
    "a link to a device": lambda file: file.symlink_to("/dev/zero"),
    "an unreadable file": _unreadable,
}


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def some(attacks: Mapping[str, Attack], count: int) -> dict[str, Attack]:
    """At most ``count`` of the attacks, evenly chosen; all for 0."""
    step = max(1, len(attacks) // count) if count else 1
    return dict(list(attacks.items())[::step])


def json_attack(change: Callable[[Any], None], name: str | None = None) -> Attack:
    """Changes a JSON document: the model file itself, or the file ``name`` in its archive."""

    def attack(model: Path) -> Path:
        if name is None:
            document = json.loads(model.read_bytes())
            change(document)
            model.write_bytes(json.dumps(document).encode())
            return model
        with zipfile.ZipFile(model) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        document = json.loads(members[name])
        change(document)
        members[name] = json.dumps(document).encode()
        with zipfile.ZipFile(model, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return model

    return attack
