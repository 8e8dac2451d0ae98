"""Compiles the .proto files into the descriptor set loaded at run time; ``--check`` only says whether it is stale."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc_tools
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "tensorhost" / "codecs" / "protobuf"
SOURCES = PACKAGE / "proto"
TARGET = PACKAGE / "descriptors.binpb"
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


def compiled() -> bytes:
    """The descriptor set of every .proto file, each after those it imports.

    Google's well-known types are left out: they come with the protobuf package, in the version that is installed.
    """
    files = sorted(str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.proto"))
    with TemporaryDirectory() as folder:
        out = Path(folder) / "all.binpb"
        flags = [f"-I{SOURCES}", f"-I{WELL_KNOWN}", "--include_imports", f"--descriptor_set_out={out}"]
        if protoc.main(["protoc", *flags, *files]):
            raise SystemExit("the .proto files do not compile")
        everything = FileDescriptorSet.FromString(out.read_bytes())
    ours = FileDescriptorSet(file=(file for file in everything.file if not file.name.startswith("google/protobuf/")))
    return ours.SerializeToString(deterministic=True)


def main() -> int:
    """0 when the set is, or has become, what the sources say; 1 when ``--check`` finds it stale."""
    wanted = compiled()
    if TARGET.is_file() and TARGET.read_bytes() == wanted:
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{TARGET.name} is stale: run make protos", file=sys.stderr)
        return 1
    TARGET.write_bytes(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
