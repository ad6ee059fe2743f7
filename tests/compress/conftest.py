"""Networks are shared with the tests of targets."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "targets"))
