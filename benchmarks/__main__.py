"""The comparison and its neighbours on docs/benchmarks.md, saved, and the page written anew: ``python -m benchmarks``.

About 45 minutes on two cores. ``--cache FOLDER`` is passed on to those that keep models.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run one after the other; stop at the first that fails."""
    cache = sys.argv[1:]
    for module, arguments in (("startup", []), ("load_interference", cache), ("compare", ["--fresh", *cache])):
        print(f"\n{module}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{module}", "--save", *arguments], check=True, cwd=_ROOT)
    subprocess.run([sys.executable, "scripts/benchmark_page.py"], check=True, cwd=_ROOT)


if __name__ == "__main__":
    main()
