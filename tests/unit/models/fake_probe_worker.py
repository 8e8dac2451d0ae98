"""Stands in for the child process that tries models: does what the last part of the model's path tells it to.

Needs nothing but Python, so that it starts in a moment. Run as a program; it is no test.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

CONTENTS = {"operations": {"MatMul": 2}, "parameters": 7, "findings": []}
SPEC = {"name": "x", "dtype": "float32", "shape": [None, 3]}


def say(**message):
    os.write(1, json.dumps(message).encode() + b"\n")


def stage(doing, **more):
    say(type="stage", doing=doing, **more)


def passed(loaded_bytes):
    signature = {"name": "s", "method_name": "m", "call_path": "p", "inputs": {"x": SPEC}, "outputs": {"y": SPEC}}
    say(
        type="passed",
        runtime=str(os.getpid()),
        weights_bytes=100,
        loaded_bytes=loaded_bytes,
        load_s=0.25,
        run_s=0.5,
        contents=CONTENTS,
        signatures=[signature],
        refused={"t": "why"},
    )


def wait():
    """Until the server is gone, or for ever."""
    sys.stdin.read()


def peak():
    """Take 200 MiB for so short a time that nobody sees it."""
    part = bytearray(200 * 2**20)
    part[::4096] = b"1" * len(part[::4096])


def tell_environment():
    wanted = ("TENSORHOST_ADMIN_TOKEN", "TENSORHOST_PORT", "TMPDIR", "PYTHONPATH")
    sys.stderr.write(json.dumps({name: os.environ.get(name) for name in wanted}))
    sys.exit(1)


def swell():
    hoard = [bytearray(64 * 2**20) for _ in range(4)]
    for part in hoard:
        part[::4096] = b"1" * len(part[::4096])
    wait()


def leave_a_child():
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    sys.stderr.write(f"child {child.pid}\n")
    os.abort()


def close_output():
    os.close(1)
    wait()


def write_much():
    for number in range(1000):
        sys.stderr.write(f"line {number} {'x' * 80}\n")
    sys.stderr.flush()
    os.abort()


def report_crash():
    sys.stderr.write(f"Fatal Python error: Aborted\n\nExtension modules: {'some.module, ' * 900}(total: 900)\nend")
    sys.stderr.flush()
    os.abort()


def write_without_end():
    while True:
        os.write(1, b"x" * 2**16)


def crash_fused(request):
    if request["options"]["remapping"]:
        os.abort()


BEHAVIOURS = {
    "aborts": os.abort,
    "aborts_with_findings": os.abort,
    "segfaults": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "is_killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exits": lambda: sys.exit(3),
    "leaves": lambda: sys.exit(0),
    "hangs": wait,
    "swells": swell,
    "leaves_a_child": leave_a_child,
    "closes_its_output": close_output,
    "talks_nonsense": lambda: os.write(1, b"nonsense\n"),
    "never_ends_a_line": write_without_end,
    "writes_much": write_much,
    "reports_crash": report_crash,
    "peaks": peak,
    "tells_environment": tell_environment,
}


def serve(line):
    request = json.loads(line)
    told = request["path"].rpartition("/")[2]
    if told == "never_speaks":
        sys.exit(0)
    stage("preparing")
    stage("examining")
    if told == "aborts_examined":
        os.abort()
    if told == "aborts_with_findings":
        finding = {"kind": "reads_files", "subject": "ReadFile", "count": 2, "explanation": "It reads."}
        say(type="examined", count=30, worst=[finding])
        say(type="examined", count=31, worst=[finding])
    if told == "peaks":
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    stage("loading", baseline_bytes=0, peak_forgotten=told == "peaks")
    stage("running", signature="s", inputs={"x": [1, 3]})
    if told.startswith("fails_"):
        say(type="failed", kind=told.removeprefix("fails_"), message="No.", details='{"a": [1]}', log_detail="secret")
        return
    if told in ("crashes_fused", "crashes_fused_then_fails"):
        crash_fused(request)
    if told == "crashes_fused_then_fails":
        say(type="failed", kind="OutOfMemoryError", message="No.")
        return
    BEHAVIOURS.get(told, lambda: None)()
    passed(0 if told == "peaks" else 2**40)


for request_line in sys.stdin:
    serve(request_line)
