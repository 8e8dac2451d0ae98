"""The Open Inference Protocol, version 2: REST and gRPC, as Triton's clients speak it."""
