"""From the result of a quantisation to the record that tables and pages are made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from silicut.flows.label import Label, created, versions
from silicut.records import write_atomically
from silicut.report import Stage as ReportStage
from silicut.report.layer_latency import Int8Latency
from silicut.report.quantisation import QuantisationSummary, QuantisedLayer

if TYPE_CHECKING:
    from silicut.flows.quantise import Quantised, QuantiseOptions

_N_BARS = 64


def summary_of(result: Quantised, label: Label, latency: Int8Latency | None = None) -> QuantisationSummary:
    """Return the summary of a quantisation, with what was measured of it."""
    outputs = [result.calibrated.sites.of[name] for name in result.calibrated.sites.network.outputs]
    return QuantisationSummary(
        network=label.network,
        command=label.command,
        created=created(),
        versions=versions(),
        hashes={
            "float network": result.dense.structure_hash,
            "float weights": result.dense.weights_hash,
            "bits": result.plan.hash,
            "integer network": result.network.network.structure_hash,
            "integer weights": result.network.network.weights_hash,
        },
        methods=_methods(result.options),
        n_calibration=result.n_calibration,
        stages=tuple(
            ReportStage(name=s.name, n=s.n, n_correct=s.n_correct, n_lost=s.n_lost, n_gained=s.n_gained)
            for s in result.stages
            if s.n is not None and s.n_correct is not None
        ),
        layers=tuple(_layers(result)),
        latency=latency,
        output_noise_db=_finite(min(result.noise_db.get(name, math.inf) for name in outputs)),
    )


def write_page(summary: QuantisationSummary, folder: Path) -> Path:
    """Write report.html into a folder and return its path.

    Raises:
        ToolMissing: jinja2 is not installed (extra "report").
    """
    from silicut.report.quantisation_page import render_quantisation

    path = folder / "report.html"
    write_atomically(path, render_quantisation(summary).encode())
    return path


def _layers(result: Quantised) -> Iterator[QuantisedLayer]:
    sites, known = result.calibrated.sites, result.network
    operators = {operator.name: operator for operator in known.network.operators}
    for operator in sites.network.operators:
        if operator.name not in sites.layers:
            continue
        weight = sites.network.parameters[operator.arguments["weight"].name]
        filter_bits = result.plan.filter_bits(operator.name, len(weight))
        reads = known.quantisations[operators[operator.name].arguments["inputs"][0].name]
        (scale,), (zero) = reads.scales, reads.zero_points[0]
        found = result.calibrated.found[sites.of[operator.arguments["input"].name]]
        yield QuantisedLayer(
            name=operator.name,
            kind=operator.kind,
            n_weights=weight.size,
            weight_bits=int(filter_bits.max()),
            n_weight_bits=int(filter_bits.sum()) * (weight.size // len(weight)),
            activation_bits=reads.format.bits,
            low=(reads.format.min - zero) * scale,
            high=(reads.format.max - zero) * scale,
            read_low=found.low,
            read_high=found.high,
            counts=tuple(found.counts.reshape(_N_BARS, -1).sum(1).tolist()),
            noise_db=_finite(result.noise_db[sites.ends[operator.name]]),
        )


def _methods(options: QuantiseOptions) -> dict[str, str]:
    methods = {name: _text(value) for name, value in asdict(options.methods).items()}
    return methods if options.normalisation is None else methods | {"input": "images of 0..255, normalised as integers"}


def _text(value: str | bool) -> str:
    return value if isinstance(value, str) else "yes" if value else "no"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
