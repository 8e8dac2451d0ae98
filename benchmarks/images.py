"""The container images: their sizes, and from starting a container to ready, with and without what an earlier one kept.

Run: ``python -m benchmarks.images [--save] [--rounds N] [--cache FOLDER]``, after ``make image`` and as root; needs
docker or podman. Three minutes. Containers are confined as docs/container.md says they may be. What the engine itself
takes, for a container that does nothing, is given beside the others. ``--save`` writes
the figures into that page, too.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import machine
from benchmarks.models import DEFAULT_CACHE, ensure
from benchmarks.servers import free_port
from tensorhost.demo import demo_models_path

RESULT = Path(__file__).parent / "results" / "images.json"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "container.md"
IMAGES = ("tensorhost:latest", "tensorhost:slim")
_CONFINED = ("--network=host", "--read-only", "--tmpfs=/tmp", "--cap-drop=all", "--security-opt=no-new-privileges")
_TIMEOUT_S = 300
_POLL_S = 0.02
_CHUNK_BYTES = 2**20
_HEADING = "\n## Size and time\n"
_LAST_WORDS = "`python -m benchmarks.images --save`:"


def engine() -> str:
    """The program that runs containers here."""
    builder = Path(__file__).resolve().parents[1] / "deploy" / "image" / "builder"
    return subprocess.run([builder], capture_output=True, text=True, check=True).stdout.strip()


class Containers:
    """Containers of the images, one at a time, timed by the clock on the wall."""

    def __init__(self, program: str) -> None:
        self._program = program

    def sizes(self, image: str) -> dict[str, int]:
        """MB of the image on disk, and of its layers compressed, as a registry would keep them."""
        on_disk = int(self._call("image", "inspect", "--format={{.Size}}", image))
        with tempfile.TemporaryFile() as file:
            with gzip.open(file, "wb", compresslevel=6) as packed, self._saving(image) as saving:
                shutil.copyfileobj(saving.stdout, packed, _CHUNK_BYTES)
            compressed = file.tell()
        return {"on_disk_mb": round(on_disk / 1e6), "compressed_mb": round(compressed / 1e6)}

    def nothing_s(self, image: str) -> float:
        """Seconds of a container that ends at once."""
        started = time.perf_counter()
        self._call("run", "--rm", "--no-healthcheck", *_CONFINED, "--entrypoint=/bin/true", image)
        return time.perf_counter() - started

    def ready(self, image: str, models: Path, kept: Path) -> dict[str, float]:
        """Seconds from ``run`` to the first 200 at ``/health/ready``, processor seconds and MiB by then, and seconds
        from SIGTERM to the end."""
        port = free_port()
        volumes = (f"--volume={models}:/models:ro", f"--volume={kept}:/cache")
        started = time.perf_counter()
        variables = (f"--env=PORT={port}", "--env=TENSORHOST_DRAIN_WINDOW_S=0")
        name = self._call("run", "--detach", "--no-healthcheck", *_CONFINED, *variables, *volumes, image).strip()
        try:
            while not _is_ready(port):
                if time.perf_counter() - started > _TIMEOUT_S:
                    raise TimeoutError(f"{image} with {models} did not become ready")
                time.sleep(_POLL_S)
            ready_s = time.perf_counter() - started
            cpu_s = _processor_s(int(self._call("inspect", "--format={{.State.Pid}}", name)))
            metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").json()
            stopped = time.perf_counter()
            self._call("stop", "--time=60", name)
            stop_s = time.perf_counter() - stopped
        finally:
            self._call("rm", "--force", name)
        rss_mib = metrics["memoryUsage"]["rss"] / 2**20
        return {"ready_s": ready_s, "cpu_s": cpu_s, "rss_mib": rss_mib, "stop_s": stop_s}

    def _saving(self, image: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([self._program, "save", image], stdout=subprocess.PIPE)

    def _call(self, *arguments: str) -> str:
        return subprocess.run([self._program, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _processor_s(first: int) -> float:
    """What a process and all below it have used, those that have ended included."""
    total = 0.0
    for process in [psutil.Process(first), *psutil.Process(first).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def repositories(cache: Path) -> dict[str, Path]:
    """What is served: one demo model that needs no TensorFlow, all of them, and a network of 14 MB."""
    return {
        "digits": demo_models_path() / "digits",
        "the demo models": demo_models_path(),
        "MobileNetV2": ensure(("mobilenetv2",), cache / "models")["mobilenetv2"].folder,
    }


def cases(served: dict[str, Path]) -> list[tuple[str, str]]:
    """Which image serves what. Of the demo models, the slim one can only serve the digits."""
    return [(image, name) for image in IMAGES for name in served if (image, name) != (IMAGES[1], "the demo models")]


def measure(containers: Containers, served: dict[str, Path], rounds: int) -> list[dict[str, Any]]:
    """The medians of each case; all take turns."""
    taken: dict[tuple[str, str], list[dict[str, float]]] = {case: [] for case in cases(served)}
    for _ in range(rounds):
        for image, name in taken:
            with tempfile.TemporaryDirectory(prefix="tensorhost-images-") as folder:
                Path(folder).chmod(0o777)  # for the user in the container, whoever that is here
                first, later = (containers.ready(image, served[name], Path(folder)) for _ in range(2))
            taken[image, name].append(first | {f"kept_{key}": later[key] for key in ("ready_s", "cpu_s")})
            print(image, name, taken[image, name][-1], flush=True)
    return [
        {"image": image, "models": name}
        | {key: round(statistics.median(one[key] for one in all_), 2) for key in all_[0]}
        for (image, name), all_ in taken.items()
    ]


def table(saved: dict[str, Any]) -> str:
    """The figures as docs/container.md shows them."""
    where = f"{saved['date']}, {saved['machine']['cpu']}, {saved['machine']['cores']} cores, {saved['engine']}"
    rounds = "One round" if saved["rounds"] == 1 else f"Medians of {saved['rounds']} rounds"
    lines = [
        f"{where}, load average before that {saved['load_average']}. {rounds}.",
        "",
        "| Image | MB on disk | MB compressed |",
        "|---|--:|--:|",
    ]
    lines += [
        f"| `{image}` | {size['on_disk_mb']:,} | {size['compressed_mb']:,} |" for image, size in saved["sizes"].items()
    ]
    lines += [
        "",
        "| Image | Serves | first start, s | processor, s | with cache, s | processor, s | MiB when ready | stop, s |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
        f"| either | a program that ends at once | {saved['nothing_s']:.1f} | | | | | |",
    ]
    for one in saved["results"]:
        seconds = [f"{one[key]:.1f}" for key in ("ready_s", "cpu_s", "kept_ready_s", "kept_cpu_s")]
        cells = [f"`{one['image']}`", one["models"], *seconds, f"{one['rss_mib']:.0f}", f"{one['stop_s']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(page: str, saved: dict[str, Any]) -> str:
    """``page`` with these figures at the end of its section about them."""
    before, heading, section = page.partition(_HEADING)
    text, _, rest = section.partition("\n## ")
    words, _, _ = text.partition(_LAST_WORDS)
    return f"{before}{heading}{words}{_LAST_WORDS}\n\n{table(saved)}\n" + (f"\n## {rest}" if rest else "")


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where the models are kept")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name} and {PAGE.name}")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case takes a turn")
    options = parser.parse_args()
    program = engine()
    containers = Containers(program)
    served = repositories(options.cache)
    saved = machine.describe(("tensorhost",)) | {
        "engine": subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip(),
        "load_average": round(os.getloadavg()[0], 1),
        "rounds": options.rounds,
        "nothing_s": round(statistics.median(containers.nothing_s(IMAGES[1]) for _ in range(options.rounds)), 2),
        "sizes": {image: containers.sizes(image) for image in IMAGES},
        "results": measure(containers, served, options.rounds),
    }
    print(table(saved))
    if options.save:
        RESULT.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), saved), encoding="utf-8")


if __name__ == "__main__":
    main()
