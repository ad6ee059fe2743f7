"""From a run's results to the one record that the page and the tables are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from silicut.compress import FILE_BYTES, MACS, PARAMETERS
from silicut.flows.diagnosis import Diagnosis
from silicut.flows.label import Label, created, versions
from silicut.flows.pruning_problem import Subject
from silicut.flows.result import Pruned
from silicut.flows.stages import DENSE, PRUNED
from silicut.graph import Network, fold_batch_norm
from silicut.graph.counting import n_macs
from silicut.graph.onnx_writer import to_onnx
from silicut.records import write_atomically
from silicut.report import summary as report
from silicut.report.comparisons import EngineSummary, SizeBudget, TriedDrop, ValueSummary
from silicut.report.simulation import SimulationSummary
from silicut.targets.layers import layers_of
from silicut.targets.profile import Profile


def summarise(result: Pruned, label: Label) -> report.RunSummary:
    """Return the summary of a run."""
    measurement, outcome, profile = result.measurement, result.outcome, result.profile
    dense, timing = measurement.timings[DENSE], measurement.timings[PRUNED]
    subject = Subject.of(result.dense)
    widths = outcome.chosen.levels
    scale = dense.latency_ms / _predicted_ms(profile, {v.name: v.levels[-1] for v in profile.variables})
    layers = _layers(result, subject, widths, scale)
    diagnosis = None  # its causes are those of engines; an accelerator's stages say themselves what they wait for
    if not measurement.settings.is_simulated:
        diagnosis = Diagnosis(subject, profile, widths, fold_batch_norm(result.network), scale)
    return report.RunSummary(
        network=label.network,
        settings=measurement.settings,
        created=created(),
        command=label.command,
        versions=versions(),
        hashes={**result.plan.hashes, "plan": result.plan.hash, "pruned weights": result.network.weights_hash},
        fingerprint=measurement.fingerprint,
        target_ms=outcome.limit_frac * timing.latency_ms / result.latencies.ratio(result.measurements),
        dense=report.Latency(ms=dense.latency_ms, low_ms=dense.latency_low_ms, high_ms=dense.latency_high_ms),
        predicted_ms=scale * profile.overhead_ms + sum(layer.pruned_ms for layer in layers),
        overhead_ms=scale * profile.overhead_ms,
        measured=report.Latency(ms=timing.latency_ms, low_ms=timing.latency_low_ms, high_ms=timing.latency_high_ms),
        ratio=report.Ratio(ratio=timing.ratio, low=timing.ratio_low, high=timing.ratio_high),
        outcome=_outcome(result, dense.latency_ms),
        search=_search(result),
        dense_size=network_size(result.dense, profile.settings.batch),
        pruned_size=network_size(result.network, profile.settings.batch),
        rounds=_rounds(result, dense.latency_ms),
        layers=layers,
        groups=tuple(_group(profile, name, widths, scale) for name in result.plan.widths),
        removed_blocks=result.plan.removed_blocks,
        frozen=tuple(
            report.FrozenSummary(operators=f.operators, n_channels=f.n_channels, reason=f.reason)
            for f in subject.channels.frozen
        ),
        stages=report_stages(result),
        epochs=tuple(
            report.Epoch(epoch=e.epoch, loss=e.loss, accuracy_frac=None, learning_rate=e.learning_rate)
            for e in result.epochs
        ),
        validation=profile.validation,
        onnx_agreement=_agreement(result),
        warnings=_warnings(result),
        engines=_engines(result),
        size_budgets=_size_budgets(result),
        values=_values(result),
        drops=tuple(TriedDrop(**asdict(drop)) for drop in result.drops),
        parts=None if diagnosis is None else diagnosis.parts,
        findings=() if diagnosis is None else diagnosis.findings(),
        simulation=_simulation(result, label),
    )


def _simulation(result: Pruned, label: Label) -> SimulationSummary | None:
    """Return where the cycles go, under the name and command of the run."""
    if (found := result.simulation) is None:
        return None
    return replace(found, network=label.network, command=label.command)


def report_stages(result: Pruned) -> tuple[report.Stage, ...]:
    """Return the stages of a run that were counted in images."""
    return tuple(
        report.Stage(name=s.name, n=s.n, n_correct=s.n_correct, n_lost=s.n_lost, n_gained=s.n_gained)
        for s in result.stages
        if s.n is not None and s.n_correct is not None
    )


def write_report(summary: report.RunSummary, folder: Path) -> None:
    """Write summary.json and report.html into a folder."""
    from silicut.report.page import render_page

    summary.save(folder / "summary.json")
    write_atomically(folder / "report.html", render_page(summary).encode())


def _was_predicted(result: Pruned) -> bool:
    """Return whether the plan was found by prediction and measured on its device afterwards."""
    return result.outcome.measurement.settings.is_predicted and not result.measurement.settings.is_predicted


def _warnings(result: Pruned) -> tuple[str, ...]:
    found, last = result.outcome.measurement, result.measurement
    both = last.warnings if found is last or _was_predicted(result) else (*found.warnings, *last.warnings)
    return tuple(dict.fromkeys(both))


def _outcome(result: Pruned, dense_ms: float) -> report.Outcome:
    outcome, following = result.outcome, result.outcome.next_better_frac
    is_met, sentence = outcome.is_met, outcome.sentence
    if _was_predicted(result):
        ratio = result.latencies.ratio(result.measurements)
        is_met = is_met and ratio <= outcome.limit_frac
        sentence += f" On the device it measured {100 * ratio:.1f} %."
    return report.Outcome(
        is_met=is_met,
        sentence=sentence,
        next_ms=None if following is None else following * dense_ms,
    )


def _search(result: Pruned) -> report.Search:
    solution = result.outcome.solution
    return report.Search(
        value_function=result.plan.value[0],
        value=solution.value,
        solver=solution.solver,
        bound=solution.bound,
        gap_frac=solution.gap_frac,
    )


def _engines(result: Pruned) -> tuple[EngineSummary, ...]:
    """Return the network on each engine where there are several."""
    if len(result.targets) == 1:
        return ()
    return tuple(
        EngineSummary(
            settings=found.settings,
            dense_ms=found.timings[DENSE].latency_ms,
            pruned_ms=found.timings[PRUNED].latency_ms,
            ratio=found.timings[PRUNED].ratio,
            ratio_low=found.timings[PRUNED].ratio_low,
            ratio_high=found.timings[PRUNED].ratio_high,
            mean_error_frac=target.profile.validation.mean_error_frac,
        )
        for target, found in zip(result.targets, result.measurements, strict=True)
    )


def _size_budgets(result: Pruned) -> tuple[SizeBudget, ...]:
    size = network_size(result.network, result.planner.batch)
    reached = {PARAMETERS: size.n_parameters, MACS: size.n_macs, FILE_BYTES: size.file_bytes}
    budgets = result.planner.size_budgets.items()
    return tuple(SizeBudget(name=name, limit=limit, reached=float(reached[name])) for name, limit in budgets)


def _values(result: Pruned) -> tuple[ValueSummary, ...]:
    accuracy, ranks = (result.values.get(key, {}) for key in ("accuracy_frac", "rank_correlation"))
    return tuple(
        ValueSummary(name=name, accuracy_frac=accuracy.get(name), rank_correlation=ranks.get(name))
        for name in dict.fromkeys((*accuracy, *ranks))
    )


def network_size(network: Network, batch: int) -> report.NetworkSize:
    """Return the sizes of a network and of its ONNX file."""
    file_bytes = len(to_onnx(fold_batch_norm(network), batch=batch))
    return report.NetworkSize(n_parameters=network.n_parameters(), n_macs=n_macs(network), file_bytes=file_bytes)


def _rounds(result: Pruned, dense_ms: float) -> tuple[report.Round, ...]:
    before = {v.name: v.levels[-1] for v in result.profile.variables}
    rounds = []
    for r in result.outcome.rounds:
        n_changed = sum(before[name] != level for name, level in result.planner.widths(r.levels).items())
        rounds.append(
            report.Round(
                target_ms=r.target_frac * dense_ms,
                predicted_ms=r.predicted_frac * dense_ms,
                measured_ms=None if _was_predicted(result) else r.ratio * dense_ms,
                value=r.value,
                n_widths_changed=n_changed,
            )
        )
        before = r.levels
    return tuple(rounds)


def _predicted_ms(profile: Profile, widths: Mapping[str, int]) -> float:
    return profile.overhead_ms + sum(profile.layer_ms(widths).values())


def _layers(result: Pruned, subject: Subject, widths: Mapping[str, int], scale: float) -> tuple[report.LayerSummary, ...]:
    """Return the layers' rows, their milliseconds on the scale of the measured dense latency."""
    profile = result.profile
    dense = {v.name: v.levels[-1] for v in profile.variables}
    gone = {o for b in subject.blocks if b.name in result.plan.removed_blocks for o in b.operators}
    kept = {name: width or dense[name] for name, width in widths.items()}
    dense_ms, pruned_ms = profile.layer_ms(dense), profile.layer_ms(kept)
    shapes = {layer.name: layer for layer in layers_of(subject.folded, subject.channels, profile.settings.batch)}
    rows = []
    for cost in profile.layers:
        layer, is_gone = shapes[cost.name], cost.name in gone
        rows.append(
            report.LayerSummary(
                name=cost.name,
                shape=cost.shape,
                n_in_dense=layer.inputs.at(dense),
                n_in_pruned=0 if is_gone else layer.inputs.at(kept),
                n_out_dense=layer.outputs.at(dense),
                n_out_pruned=0 if is_gone else layer.outputs.at(kept),
                dense_ms=scale * dense_ms[cost.name],
                pruned_ms=0.0 if is_gone else scale * pruned_ms[cost.name],
                is_removed=is_gone,
            )
        )
    return tuple(rows)


def _group(profile: Profile, name: str, widths: Mapping[str, int], scale: float) -> report.GroupSummary:
    stairs = next(s for s in profile.staircases if s.group == name)
    levels = {v.name: v.levels for v in profile.variables}
    dense = {n: each[-1] for n, each in levels.items()}
    return report.GroupSummary(
        name=name,
        dense_width=dense[name],
        chosen_width=widths[name],
        widths=stairs.widths,
        costs_ms=tuple(scale * cost for cost in stairs.costs_ms),
        step=stairs.step,
        cliffs=stairs.cliffs,
        levels=levels[name],
        level_costs_ms=tuple(scale * profile.group_ms(name, dense | {name: level}) for level in levels[name]),
    )


def _agreement(result: Pruned) -> report.OnnxAgreement | None:
    agreed = result.agreement
    if agreed is None:
        return None
    return report.OnnxAgreement(
        max_abs_difference=agreed.max_abs_difference, n_images=agreed.n, n_same_top1=agreed.n_same_top1
    )
