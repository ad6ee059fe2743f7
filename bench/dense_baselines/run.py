"""How accurate are the dense networks of the zoo on images they were never trained on?

python bench/dense_baselines/run.py --data FOLDER [--work FOLDER] [--quick]

Trains each network with one recorded recipe, writes a row of results.csv and the weights as soon as it is trained. Stopped
and started again, it goes on at the last finished epoch.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from silicut.records import load_tensors, save_tensors, write_atomically
from silicut.training import EpochResult, Recipe, evaluate, fit
from silicut.zoo.data.cifar10 import cifar10
from silicut.zoo.data.images import ImageData
from silicut.zoo.registry import network_entry

HERE = Path(__file__).resolve().parent
BUNDLED = HERE.parents[1] / "silicut" / "zoo" / "weights"
RECIPE = Recipe(epochs=20, batch_size=128, learning_rate=0.1, warmup_epochs=1.5, weight_decay=5e-4, precision="bf16")
EPOCHS = {"resnet18-half": 15, "resnet56-projection": 14, "resnet20": 14}
N_QUICK = 2560


def main() -> None:
    """Train every network that has no row yet."""
    options = _options()
    torch.set_num_threads(options.threads)
    data = cifar10(options.data)
    epochs = EPOCHS | {name: int(n) for name, n in (text.split("=") for text in options.epochs)}
    if options.quick:
        data, epochs = data.subset(N_QUICK, 500), dict.fromkeys(EPOCHS, 1)
    for name in options.networks:
        recipe = replace(RECIPE, epochs=epochs[name], warmup_epochs=min(RECIPE.warmup_epochs, epochs[name] / 2))
        _train(name, data, recipe, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of CIFAR-10's binary batches")
    parser.add_argument("--work", type=Path, default=Path("dense_baselines_work"), help="folder of the checkpoints")
    parser.add_argument("--networks", nargs="*", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--epochs", nargs="*", default=[], metavar="NETWORK=N", help="other than the usual epochs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="one epoch on a few images; results stay in --work")
    return parser.parse_args()


def _train(name: str, data: ImageData, recipe: Recipe, options: argparse.Namespace) -> None:
    out, weights = (options.work, options.work) if options.quick else (HERE, BUNDLED)
    table = out / "results.csv"
    if any(row["network"] == name for row in _rows(table)):
        return
    _say(f"{name}: recipe {recipe.hash} {json.dumps(recipe.to_json())}")
    torch.manual_seed(recipe.seed)
    module = network_entry(name).builder(data.n_classes)
    results = fit(module, data, recipe, folder=options.work / name, on_epoch=lambda r: _say(f"{name}: {r}"))
    path = weights / f"{name}-cifar10.safetensors"
    n_correct_fp32 = evaluate(module, data).n_correct
    save_tensors(path, _halved(module), {"network": name, "recipe": recipe.hash, "data": data.name})
    _assign(module, load_tensors(path))
    accuracy = evaluate(module, data)
    row = {
        "network": name,
        "data": data.name,
        "n": accuracy.n,
        "n_correct": accuracy.n_correct,
        "n_correct_fp32": n_correct_fp32,
        **_circumstances(recipe, results, options.threads),
    }
    _write_rows(table, [*_rows(table), row])
    _record_weights(weights, path.name, row, recipe)
    _say(f"{name}: {json.dumps(row)}")


def _circumstances(recipe: Recipe, results: list[EpochResult], n_threads: int) -> dict[str, Any]:
    return {
        "epochs": recipe.epochs,
        "seed": recipe.seed,
        "recipe": recipe.hash,
        "seconds": round(sum(result.seconds for result in results)),
        "precision": results[-1].precision,
        "n_threads": n_threads,
        "cpu": _cpu(),
        "torch": torch.__version__,
    }


def _halved(module: nn.Module) -> dict[str, np.ndarray]:
    """Convolution and linear weights as float16; vectors, which are small and delicate, as they are."""
    arrays = {name: tensor.detach().contiguous().numpy() for name, tensor in module.state_dict().items()}
    return {name: array.astype(np.float16) if array.ndim > 1 else array for name, array in arrays.items()}


def _assign(module: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})


def _rows(table: Path) -> list[dict[str, Any]]:
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_rows(table: Path, rows: list[dict[str, Any]]) -> None:
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[-1])
        writer.writeheader()
        writer.writerows(rows)


def _record_weights(folder: Path, file: str, row: Mapping[str, Any], recipe: Recipe) -> None:
    index = folder / "weights.json"
    entries = json.loads(index.read_text(encoding="utf-8")) if index.exists() else {}
    entries[file] = {
        "network": row["network"],
        "data": row["data"],
        "n": row["n"],
        "n_correct": row["n_correct"],
        "command": f"python bench/dense_baselines/run.py --data FOLDER --epochs {row['network']}={recipe.epochs}",
        "recipe": recipe.to_json(),
    }
    write_atomically(index, (json.dumps(entries, indent=1) + "\n").encode())


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
