"""The training scripts are not installed: put the root of the checkout on the path, to recompute held-out splits."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
