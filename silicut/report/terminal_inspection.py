"""What can be pruned of a network, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from silicut.report import wording
from silicut.report.findings import Finding, LatencyParts
from silicut.report.inspection import Explanation, FrozenInspection, GroupInspection, Inspection, Place, Role
from silicut.report.terminal import add_row, headed_table

_N_SHOWN = 2


def inspection_view(inspection: Inspection) -> Group:
    """Return what may be narrowed, removed, and must stay; with a profile, also what the time depends on."""
    parts: list[RenderableType] = [Text(_headline(inspection), style="bold")]
    if inspection.groups:
        parts.append(_groups_table(inspection))
    if inspection.blocks:
        parts.append(_blocks_table(inspection))
    if inspection.frozen:
        parts.append(_frozen_table(inspection))
    if inspection.parts is not None and inspection.settings is not None:
        where = wording.engine_text(inspection.settings) + (f" on {inspection.cpu}" if inspection.cpu else "")
        parts += [
            Text(f"Latency, as profiled: {where}", style="bold"),
            *findings_view(inspection.parts, inspection.findings),
        ]
    return Group(*parts)


def findings_view(parts: LatencyParts, findings: Sequence[Finding]) -> list[RenderableType]:
    """Return a latency by what could change it, and the known causes that apply."""
    texts: list[RenderableType] = [Text(wording.parts_sentence(parts))]
    for finding in findings:
        share = wording.percent_text(finding.frac, 0)
        told = (f"{finding.cause}, {share} of the latency: ", "bold"), finding.sentence, f" {finding.advice}"
        texts.append(Text.assemble(*told))
    return texts if findings else [*texts, Text(wording.NO_CAUSE)]


def explanation_view(explanation: Explanation) -> Group:
    """Return why an operator can be pruned or not."""
    place = explanation.place
    parts: list[RenderableType] = [
        Text(f"{place.name}: {place.kind}{f', {place.source}' if place.source else ''}", style="bold")
    ]
    parts += [Text(_stays(frozen, place)) for frozen in explanation.frozen]
    for role in explanation.roles:
        parts += _role_view(role, explanation.place.name)
    if not explanation.roles and not explanation.frozen:
        parts.append(Text("It touches no channels that can be pruned."))
    if explanation.block:
        parts.append(Text(f"It goes when the residual block {explanation.block} is removed."))
    return Group(*parts)


def _headline(inspection: Inspection) -> str:
    n_frozen = sum(frozen.n_channels for frozen in inspection.frozen)
    return (
        f"{_counted(len(inspection.groups), 'group')} of channels may be narrowed, "
        f"{_counted(len(inspection.blocks), 'residual block')} may go, {_counted(n_frozen, 'channel')} must stay: "
        f"{wording.count_text(inspection.n_parameters)} parameters, "
        f"{wording.count_text(inspection.n_macs)} multiply-accumulates."
    )


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


def _groups_table(inspection: Inspection) -> Table:
    timed = ("ms", "step", "legal widths") if inspection.parts is not None else ()
    table = _wrapping_first(headed_table("may be narrowed", "channels", "parameters", "MACs", *timed))
    for group in inspection.groups:
        counts = str(group.n_channels), wording.count_text(group.n_parameters), wording.count_text(group.n_macs)
        add_row(table, _whereabouts(group), *counts, *(_timing_cells(group) if timed else ()))
    return table


def _wrapping_first(table: Table) -> Table:
    for column in table.columns[1:]:
        column.no_wrap = True
    return table


def _whereabouts(group: GroupInspection) -> str:
    """Return a group's name and line; below, what makes its channels too, what ties them, and what reads them."""
    lines = [f"{group.name} ({group.producers[0].source})" if group.producers[0].source else group.name]
    others = [place.name for place in group.producers[1:]]
    if others:
        lines.append(f"  tied to {wording.listing(others, 1)}")
    if group.ties:
        lines.append(f"  by {_names(group.ties, 1)}")
    lines.append(f"  read by {wording.listing([place.name for place in group.consumers], 1) or 'no layer'}")
    if group.neighbours:
        lines.append(f"  beside {wording.listing(group.neighbours, 1)}")
    return "\n".join(lines)


def _timing_cells(group: GroupInspection) -> tuple[str, ...]:
    timing = group.timing
    if timing is None:
        return ("", "", "")
    return f"{timing.ms:.{wording.decimals_for(timing.ms)}f}", str(timing.step), wording.numbers_text(timing.widths, 6)


def _blocks_table(inspection: Inspection) -> Table:
    is_timed = inspection.parts is not None
    table = headed_table("may be removed", "layers", "added by", "parameters", "MACs", *(("ms",) if is_timed else ()))
    table.columns[2].justify = "left"
    for block in inspection.blocks:
        cells = [block.name, str(len(block.layers)), str(block.addition)]
        cells += [wording.count_text(block.n_parameters), wording.count_text(block.n_macs)]
        add_row(table, *cells, *([] if block.ms is None else [f"{block.ms:.{wording.decimals_for(block.ms)}f}"]))
    return table


def _frozen_table(inspection: Inspection) -> Table:
    table = headed_table("must stay", "channels", "why")
    table.columns[2].justify = "left"
    for frozen in inspection.frozen:
        add_row(table, _names(frozen.layers), str(frozen.n_channels), _why(frozen))
    return table


def _why(frozen: FrozenInspection) -> str:
    ms = f"; takes {wording.ms_text(frozen.ms)} whatever is pruned" if frozen.ms else ""
    return frozen.reason + ms


def _stays(frozen: FrozenInspection, place: Place) -> str:
    if place in frozen.layers:
        return f"{frozen.n_channels} channels it makes must stay: {frozen.reason}."
    return f"It passes on {frozen.n_channels} channels of {_names(frozen.layers)}, which must stay: {frozen.reason}."


def _names(places: Sequence[Place], n_shown: int = _N_SHOWN) -> str:
    """Return places in a cell, the surplus counted."""
    return wording.listing([str(place) for place in places], n_shown)


def _role_view(role: Role, name: str) -> list[RenderableType]:
    own = role.group == name
    what = f"its {role.n_channels} channels" if own else f"{role.n_channels} channels of group {role.group}"
    says = {
        "makes": f"It makes {what}, which can be pruned.",
        "reads": f"It reads {what}: its inputs shrink with them.",
        "follows": f"It has parameters on {what}: they shrink with them.",
        "passes": f"It passes {what} on.",
    }
    texts: list[RenderableType] = [Text(says[role.verb])]
    if role.ties and role.verb == "makes":
        texts.append(Text("A channel goes from all of these at once:"))
    elif role.ties:
        texts.append(Text("They are made by:"))
    table = Table.grid(padding=(0, 2))
    for tie in role.ties:
        by = f"tied by {_names(tie.by)}" if tie.by else ""
        add_row(table, "", str(tie.layer), by)
    texts += [table] if role.ties else []
    if role.consumers:
        texts.append(Text(f"Read by {wording.listing([str(place) for place in role.consumers], 4)}."))
    return texts
