"""The Open Inference Protocol (v2) over REST and gRPC, as Triton's and KServe's clients speak it.

What both wires mean the same by is here once: which model (``admitting``), what may be asked of it (``inference``,
``inputs``, ``parameters``, ``classification``), what is told of it (``metadata``, ``model_config``), the repository and
the settings (``repository``, ``server_settings``), how it fails (``faults``, ``statuses``). ``rest`` has what HTTP adds to it.
"""
