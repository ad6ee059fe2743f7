"""Networks are shared with the tests of targets and of graphs."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / room) for room in ("targets", "graph")]
