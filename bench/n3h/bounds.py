"""How fast the accelerator can be at most: the lower bound of each layer, and what its builds take of a part."""

from __future__ import annotations

import itertools

from builds import BUILDS, NETWORKS, POLICIES, build_of, work_of
from study import Table

from silicut.accelerators.gemm.cost.bound import (
    UNITS,
    layer_bounds,
    layer_columns,
    machine_columns,
    network_bound,
    roofs,
)
from silicut.accelerators.gemm.cost.resources import AMOUNTS, BISMO_V1, BISMO_V2, exceeded, resources
from silicut.accelerators.gemm.cost.split import best_splits, bound_of_any_split
from silicut.targets.parts import device_table


def answer(table: Table) -> None:
    """Add the roofs of every layer for each build, network and policy, and those of the whole network."""
    for build, network, policy in itertools.product(BUILDS, NETWORKS, POLICIES):
        if (policy == "published" and network != "resnet18") or table.has(
            build=build, network=network, policy=policy, layer="all, overlapped"
        ):
            continue
        work, config = work_of(network, policy), build_of(build, policy)
        n_lut = best_splits(work, config)
        found, alone = roofs(layer_columns(work), n_lut, machine_columns([config])), layer_bounds(work, n_lut, config)[0]
        key = {"label": "bound", "build": build, "network": network, "policy": policy}
        limits = found.limiting()[0]
        for i, layer in enumerate(work):
            table.add(
                **key, layer=layer.name, n_lut=int(n_lut[i]), n_macs=layer.n_macs, limited_by=str(limits[i]),
                **{unit: float(found.of(unit)[0, i]) for unit in UNITS}, ms=float(alone[i]) / 1e5,
            )  # fmt: skip
        sums = {unit: float(found.of(unit).sum()) for unit in UNITS}
        whole = {
            "n_lut": int(n_lut.sum()),
            "n_macs": sum(layer.n_macs for layer in work),
            "limited_by": max(sums, key=sums.get),
        }
        table.add(**key, layer="all, in turn", **whole, **sums, ms=float(alone.sum()) / 1e5)
        any_split = whole | {"n_lut": "", "limited_by": ""}
        table.add(**key, layer="all, any split", **any_split, **dict.fromkeys(UNITS, ""),
                  ms=bound_of_any_split(work, config) / 1e5)  # fmt: skip
        table.add(**key, layer="all, overlapped", **whole, **sums, ms=network_bound(work, n_lut, config) / 1e5)


def answer_resources(table: Table) -> None:
    """Add what each build takes of its part, by both fits of BISMO."""
    for (build, (config, part)), model in itertools.product(BUILDS.items(), (BISMO_V2, BISMO_V1)):
        if table.has(build=build, model=model.name):
            continue
        found = resources(config, model)
        table.add(
            label="modelled, glue assumed", build=build, model=model.name, part=part,
            **{f"arrays_{name}": getattr(found.of("arrays"), name) for name in AMOUNTS},
            **{name: getattr(found.total, name) for name in AMOUNTS},
            exceeded=" | ".join(exceeded(found, device_table().part(part))),
        )  # fmt: skip
