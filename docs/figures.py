"""Draw the figure of the page on staircases from a run: `python docs/figures.py RUN/summary.json`."""

from __future__ import annotations

import sys
from pathlib import Path

from silicut.report import RunSummary
from silicut.report.figures.staircases import panels_of, staircase_svg_file


def main(summary: RunSummary) -> None:
    """Draw the costliest of the staircases that few groups share."""
    costliest = max(panels_of(summary.groups), key=lambda panel: panel.dense_ms)
    staircase_svg_file(costliest, Path(__file__).parent / "staircase.svg")


if __name__ == "__main__":
    main(RunSummary.load(sys.argv[1]))
