"""KServe's package as its users have it, with the protobuf that it wants, which is not ours.

The server under test is a process of its own, with ours. Two packages of protobuf cannot be in one process: whatever
imports this has not imported protobuf, nor anything that does.
"""

from __future__ import annotations

import sys

import pytest
from client_tools import KSERVE
from pinned_wheels import programs_run_here

if not programs_run_here():
    pytest.skip("KServe's clients are fetched for Linux on x86-64", allow_module_level=True)
sys.path.insert(0, str(KSERVE))

from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

__all__ = [
    "InferInput",
    "InferRequest",
    "InferenceGRPCClient",
    "InferenceRESTClient",
    "RESTConfig",
    "RequestedOutput",
]
