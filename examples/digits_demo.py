"""The main job on data that needs no download: train a small residual network on scikit-learn's digits, prune it to half
its measured latency on ONNX Runtime, fine-tune, export, measure, and write the page.

    python examples/digits_demo.py [FOLDER]

Only the first step is the demo's own; the second is the command a user would type.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from silicut import Recipe
from silicut.cli.app import run
from silicut.records import save_tensors
from silicut.training import evaluate, fit
from silicut.zoo import network, open_data

NETWORK, DATA = "digits-resnet", "digits"


def train_dense(path: Path) -> None:
    """Train the dense network and write its weights."""
    torch.manual_seed(0)
    module, data = network(NETWORK), open_data(DATA)
    recipe = Recipe(epochs=12, batch_size=64, learning_rate=0.05, warmup_epochs=1)
    fit(module, data, recipe, on_epoch=lambda e: print(f"dense epoch {e.epoch:2}/{recipe.epochs}  loss {e.loss:.3f}"))
    accuracy = evaluate(module, data)
    print(f"dense network: {accuracy.n_correct} of {accuracy.n} held-out digits right\n")
    save_tensors(path, {name: value.numpy() for name, value in module.state_dict().items()})


def free_folder(wanted: Path) -> Path:
    """Return the folder asked for, numbered if it is taken: nothing is overwritten."""
    candidates = (wanted, *(wanted.with_name(f"{wanted.name}-{i}") for i in range(2, 1000)))
    return next(folder for folder in candidates if not folder.exists())


def main() -> int:
    """Run the demo and return the exit code."""
    started = time.monotonic()
    folder = free_folder(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-run"))
    weights, out = folder / "dense.safetensors", folder / "pruned"
    train_dense(weights)
    command = ["prune", "--network", NETWORK, "--weights", str(weights), "--data", DATA, "--latency", "50%"]
    command += ["--epochs", "16", "--training-batch", "64", "--out", str(out)]
    print("$ silicut", " ".join(command))
    code = run(command)
    if code == 0:
        print(f"\n{time.monotonic() - started:.0f} s. Open {out / 'report.html'} in a browser.")
    return code


if __name__ == "__main__":
    sys.exit(main())
