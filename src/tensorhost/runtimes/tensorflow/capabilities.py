"""TensorFlow's operations that do more than compute, with the argument that says on what.

Made by going through all 1,900 operations that TensorFlow 2.21 registers; a test lists those whose arguments sound
like files or addresses and fails when a newer TensorFlow brings one that is not here. What must stay true: an
operation that could do two of these things stands under the worse one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tensorhost.runtimes.contents import FindingKind


class Capability(NamedTuple):
    """What an operation can do, and the input or attribute with the file, address or name; empty where none has it."""

    kind: FindingKind
    argument: str


_READS_FILES: Mapping[str, str] = {
    "CSVDataset": "filenames",
    "CSVDatasetV2": "filenames",
    "DTensorRestoreV2": "prefix",
    "DecodeProtoV2": "descriptor_source",
    "EncodeProto": "descriptor_source",
    "ExperimentalCSVDataset": "filenames",
    "ExperimentalLMDBDataset": "filenames",
    "ExperimentalMatchingFilesDataset": "patterns",
    "ExperimentalSqlDataset": "data_source_name",
    "FixedLengthRecordDataset": "filenames",
    "FixedLengthRecordDatasetV2": "filenames",
    "FixedLengthRecordReader": "",
    "FixedLengthRecordReaderV2": "",
    "FixedUnigramCandidateSampler": "vocab_file",
    "GenerateVocabRemapping": "",
    "ImmutableConst": "memory_region_name",
    "InitializeTableFromTextFile": "filename",
    "InitializeTableFromTextFileV2": "filename",
    "LMDBDataset": "filenames",
    "LMDBReader": "",
    "ListSnapshotChunksDataset": "snapshot_path",
    "LoadAndRemapMatrix": "ckpt_path",
    "LoadDataset": "path",
    "MatchingFiles": "pattern",
    "MatchingFilesDataset": "patterns",
    "ReadFile": "filename",
    "RecordInput": "file_pattern",
    "Restore": "file_pattern",
    "RestoreSlice": "file_pattern",
    "RestoreV2": "prefix",
    "Skipgram": "filename",
    "SnapshotChunkDataset": "chunk_file",
    "SnapshotDatasetReader": "shard_dir",
    "SqlDataset": "data_source_name",
    "TFRecordDataset": "filenames",
    "TFRecordDatasetV2": "filenames",
    "TFRecordReader": "",
    "TFRecordReaderV2": "",
    "TextLineDataset": "filenames",
    "TextLineReader": "",
    "TextLineReaderV2": "",
    "WholeFileReader": "",
    "WholeFileReaderV2": "",
}

_WRITES_FILES: Mapping[str, str] = {
    "CacheDataset": "filename",
    "CacheDatasetV2": "filename",
    "CalibrationStatisticsSaver": "output_file_path",
    "CreateSummaryDbWriter": "db_uri",
    "CreateSummaryFileWriter": "logdir",
    "DatasetToTFRecord": "filename",
    "DistributedSave": "directory",
    "DumpTensor": "log_dir_path",
    "ExperimentalDatasetToTFRecord": "filename",
    "FlushSummaryWriter": "",
    "ImportEvent": "",
    "MergeV2Checkpoints": "destination_prefix",
    "PrintV2": "output_stream",
    "Save": "filename",
    "SaveDataset": "path",
    "SaveDatasetV2": "path",
    "SaveSlices": "filename",
    "SaveV2": "prefix",
    "SnapshotDataset": "path",
    "SnapshotDatasetV2": "path",
    "StatsAggregatorSetSummaryWriter": "",
    "WriteAudioSummary": "",
    "WriteFile": "filename",
    "WriteGraphSummary": "",
    "WriteHistogramSummary": "",
    "WriteImageSummary": "",
    "WriteRawProtoSummary": "",
    "WriteScalarSummary": "",
    "WriteSummary": "",
}

_USES_NETWORK: Mapping[str, str] = {
    "CollectiveAllToAllV2": "",
    "CollectiveAllToAllV3": "",
    "CollectiveAssignGroupV2": "",
    "CollectiveBcastRecv": "",
    "CollectiveBcastRecvV2": "",
    "CollectiveBcastSend": "",
    "CollectiveBcastSendV2": "",
    "CollectiveGather": "",
    "CollectiveGatherV2": "",
    "CollectiveInitializeCommunicator": "",
    "CollectivePermute": "",
    "CollectiveReduce": "",
    "CollectiveReduceScatterV2": "",
    "CollectiveReduceV2": "",
    "CollectiveReduceV3": "",
    "Copy": "debug_ops_spec",
    "CopyHost": "debug_ops_spec",
    "DataServiceDataset": "address",
    "DataServiceDatasetV2": "address",
    "DataServiceDatasetV3": "address",
    "DataServiceDatasetV4": "address",
    "DebugIdentity": "debug_urls",
    "DebugIdentityV2": "debug_urls",
    "DebugIdentityV3": "debug_urls",
    "DebugNanCount": "debug_urls",
    "DebugNumericSummary": "debug_urls",
    "FileSystemSetConfiguration": "",
    "Recv": "",
    "RegisterDataset": "address",
    "RegisterDatasetV2": "address",
    "RemoteCall": "target",
    "RpcCall": "",
    "RpcCheckStatus": "",
    "RpcClient": "server_address",
    "RpcGetValue": "",
    "RpcServer": "server_address",
    "RpcServerRegister": "",
    "RpcServerStart": "",
    "Send": "",
    "WorkerHeartbeat": "",
    "_HostRecv": "",
    "_HostSend": "",
    "_Recv": "",
    "_Send": "",
}

_RUNS_PYTHON: Mapping[str, str] = {"EagerPyFunc": "", "PyFunc": "", "PyFuncStateless": ""}

_UNKNOWN_CODE: Mapping[str, str] = {
    "DatasetFromGraph": "",
    "MlirPassthroughOp": "",
    "SymbolicGradient": "",
    "XlaCallModule": "module",
    "XlaCustomCall": "target_name",
    "XlaCustomCallV2": "call_target_name",
    "_TPUCompileMlir": "",
    "_XlaHostComputeMlir": "",
}
"""They execute a program or a native function that is no part of the graph, where no examination looks; a
gradient is made from functions that the graph does not call."""

_ENDS_PROCESS: Mapping[str, str] = {"Abort": ""}

CAPABILITIES: Mapping[str, Capability] = {
    name: Capability(kind, argument)
    for kind, operations in (
        (FindingKind.READS_FILES, _READS_FILES),
        (FindingKind.WRITES_FILES, _WRITES_FILES),
        (FindingKind.USES_NETWORK, _USES_NETWORK),
        (FindingKind.RUNS_PYTHON, _RUNS_PYTHON),
        (FindingKind.UNKNOWN_CODE, _UNKNOWN_CODE),
        (FindingKind.ENDS_PROCESS, _ENDS_PROCESS),
    )
    for name, argument in operations.items()
}
"""By operation."""


def _is_no_file(descriptor_source: bytes) -> bool:
    return descriptor_source in (b"", b"local://") or descriptor_source.startswith(b"bytes://")


def _is_nothing(value: bytes) -> bool:
    return not value


HARMLESS: Mapping[str, Callable[[bytes], bool]] = {
    "CacheDataset": _is_nothing,
    "CacheDatasetV2": _is_nothing,
    "Copy": _is_nothing,
    "CopyHost": _is_nothing,
    "DebugIdentity": _is_nothing,
    "DebugIdentityV2": _is_nothing,
    "DebugIdentityV3": _is_nothing,
    "DebugNanCount": _is_nothing,
    "DebugNumericSummary": _is_nothing,
    "DecodeProtoV2": _is_no_file,
    "EncodeProto": _is_no_file,
    "FixedUnigramCandidateSampler": _is_nothing,
    "PrintV2": lambda stream: not stream.startswith(b"file://"),
    "XlaCallModule": lambda module: b"custom_call" not in module,
}
"""Operations that do nothing of the kind while their argument holds such values, told by value."""
