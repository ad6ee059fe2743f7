"""Records to terminal tables, CSV, figures and a self-contained HTML page.

Names are loaded on first use: figures need matplotlib and the page jinja2 as well, both in the extra "report".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from silicut.records.deferred import deferred

if TYPE_CHECKING:
    from silicut.report.figures.stacked import stacked_png as stacked_png
    from silicut.report.figures.stacked import stacked_svg_file as stacked_svg_file
    from silicut.report.findings import Finding as Finding
    from silicut.report.findings import LatencyParts as LatencyParts
    from silicut.report.front import FrontSummary as FrontSummary
    from silicut.report.front import front_csv as front_csv
    from silicut.report.front import front_table as front_table
    from silicut.report.front_page import render_front as render_front
    from silicut.report.inspection import Explanation as Explanation
    from silicut.report.inspection import Inspection as Inspection
    from silicut.report.page import render_page as render_page
    from silicut.report.quantisation import QuantisationSummary as QuantisationSummary
    from silicut.report.quantisation import QuantisedLayer as QuantisedLayer
    from silicut.report.quantisation import quantisation_view as quantisation_view
    from silicut.report.quantisation_page import render_quantisation as render_quantisation
    from silicut.report.summary import Epoch as Epoch
    from silicut.report.summary import FrozenSummary as FrozenSummary
    from silicut.report.summary import GroupSummary as GroupSummary
    from silicut.report.summary import Latency as Latency
    from silicut.report.summary import LayerSummary as LayerSummary
    from silicut.report.summary import NetworkSize as NetworkSize
    from silicut.report.summary import OnnxAgreement as OnnxAgreement
    from silicut.report.summary import Outcome as Outcome
    from silicut.report.summary import Ratio as Ratio
    from silicut.report.summary import Round as Round
    from silicut.report.summary import RunSummary as RunSummary
    from silicut.report.summary import Search as Search
    from silicut.report.summary import Stage as Stage
    from silicut.report.terminal import layers_csv as layers_csv
    from silicut.report.terminal import measurement_table as measurement_table
    from silicut.report.terminal import profile_table as profile_table
    from silicut.report.terminal import summary_table as summary_table
    from silicut.report.terminal_inspection import explanation_view as explanation_view
    from silicut.report.terminal_inspection import findings_view as findings_view
    from silicut.report.terminal_inspection import inspection_view as inspection_view

_PLACES = {
    "figures.stacked": ("stacked_png", "stacked_svg_file"),
    "front": ("FrontSummary", "front_csv", "front_table"),
    "front_page": ("render_front",),
    "findings": ("Finding", "LatencyParts"),
    "inspection": ("Explanation", "Inspection"),
    "page": ("render_page",),
    "quantisation": ("QuantisationSummary", "QuantisedLayer", "quantisation_view"),
    "quantisation_page": ("render_quantisation",),
    "summary": tuple(
        "Epoch FrozenSummary GroupSummary Latency LayerSummary NetworkSize OnnxAgreement Outcome Ratio Round RunSummary "
        "Search Stage".split()
    ),
    "terminal": ("layers_csv", "measurement_table", "profile_table", "summary_table"),
    "terminal_inspection": ("explanation_view", "findings_view", "inspection_view"),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}
__all__ = list(_PLACE_OF)

__getattr__ = deferred(__name__, _PLACE_OF)
