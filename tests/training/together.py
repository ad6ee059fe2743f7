"""What two processes do together, for test_processes.py: `torchrun --nproc-per-node 2 together.py FOLDER`.

Every process writes what it found to FOLDER/RANK.pt; the test compares it with what one process finds.
"""

import sys
import time
from pathlib import Path

import torch
from blobs import blobs, small_network
from torch import nn
from torch.nn import functional

from silicut.graph import capture, to_module
from silicut.records import ConfigError
from silicut.training import (
    Recipe,
    evaluate,
    fit,
    from_first,
    is_first,
    n_processes,
    process_group,
    rank,
    recalibrate_batch_norm,
    synchronised_batch_norm,
)
from silicut.training.processes import own_share

RECIPE = Recipe(epochs=3, batch_size=19, learning_rate=0.2, warmup_epochs=0.5, ema_decay=0.5, precision="fp32")
ONE_STEP = Recipe(epochs=1, batch_size=31, learning_rate=0.2, momentum=0.0, precision="fp32")


class WithUnused(nn.Module):
    """A network with a second head that it does not use."""

    def __init__(self):
        super().__init__()
        self.body, self.other_head = network(), nn.Linear(4, 3)
        nn.init.ones_(self.other_head.weight), nn.init.zeros_(self.other_head.bias)

    def forward(self, x):
        return self.body(x)


def network():
    """Return the small network without dropout, whose random numbers no two processes share."""
    module = small_network()
    module[3] = nn.Identity()
    return module


def generated():
    """Return the same as silicut's own module, which has no layers."""
    return to_module(capture(network().eval(), torch.zeros(2, 2, 6, 6)))


def state(module):
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def trained(module, recipe, n_training, **more):
    """Return the state after a training, and its losses."""
    results = fit(module, blobs(n_training=n_training), recipe, **more)
    return state(module), [result.loss for result in results]


def trainings(folder):
    """Return what training gives: one step, odd batches with momentum and averages, an unused parameter, a stop."""
    stopped = network()
    with_teacher = Recipe(**{**vars(ONE_STEP), "distil_weight": 0.5})
    return {
        "step": trained(network(), ONE_STEP, 31),
        "generated": trained(generated(), ONE_STEP, 31),
        "teacher": trained(network(), with_teacher, 31, teacher=small_network(seed=3)),
        "epochs": trained(network(), RECIPE, 95),
        "unused": trained(WithUnused(), ONE_STEP, 31),
        "resumed": trained(stopped, RECIPE, 95, folder=folder / "begun by one"),
    }


class Stopped(Exception):
    pass


def begin(folder):
    """Train two epochs of three and stop."""

    def stop(result):
        if result.epoch == 2:
            raise Stopped

    try:
        fit(network(), blobs(n_training=95), RECIPE, folder=folder, on_epoch=stop)
    except Stopped:
        return


def normalisations():
    """Return outputs, gradients and statistics of one batch normalisation on this process's part of a batch."""
    generator = torch.Generator().manual_seed(2)
    whole, wanted = torch.randn(7, 3, 4, generator=generator) * 3 + 5, torch.randn(7, 3, 4, generator=generator)
    found = {}
    for name, normalise in FORMS.items():
        share = own_share(whole, wanted)
        x = share.x.clone().requires_grad_()
        weight, bias = torch.tensor([1.0, 2.0, -1.0], requires_grad=True), torch.zeros(3, requires_grad=True)
        mean, var = torch.zeros(3), torch.ones(3)
        with synchronised_batch_norm():
            y = normalise(x, weight, bias, mean, var)
        (y * share.y).sum().backward()
        gradients = [t.grad for t in (x, weight, bias) if t.grad is not None]
        found[name] = {"y": y.detach(), "gradients": gradients, "statistics": torch.stack([mean, var])}
    return found


FORMS = {
    "functional": lambda x, w, b, mean, var: functional.batch_norm(x, mean, var, w, b, True, 0.3, 1e-3),
    "operator": lambda x, w, b, mean, var: torch.ops.aten.batch_norm.default(x, w, b, mean, var, True, 0.3, 1e-3, True),
    "plain": lambda x, w, b, mean, var: functional.batch_norm(x, None, None, training=True),
    "evaluation": lambda x, w, b, mean, var: functional.batch_norm(x, mean, var, w, b, False, 0.3, 1e-3),
}


def waiting():
    """Return what came from the first process, what it saw of the group, and seconds waited and computed."""
    start, computed = time.perf_counter(), time.process_time()

    def slow():
        time.sleep(1.0)
        return {"seen": n_processes(), "nested": from_first(lambda: "alone")}

    answer = from_first(slow)
    return answer | {"waited_s": time.perf_counter() - start, "computed_s": time.process_time() - computed}


def failing():
    """Return the error that the first process's error becomes in this one."""

    def refuse():
        raise ConfigError("a must be b, not c", "d must be e, not f")

    def own_kind():
        raise Unsendable("of the user's", code=3)

    found = []
    for make in (refuse, own_kind):
        try:
            from_first(make)
        except Exception as error:
            found.append((type(error).__name__, str(error)))
    return found


class Unsendable(Exception):
    """An error that cannot be pickled."""

    def __init__(self, text, *, code):
        super().__init__(text)
        self.code = code


def figures():
    """Return accuracy image by image and recalibrated statistics."""
    module, data = network(), blobs(n_training=95, n_evaluation=47)
    recalibrate_batch_norm(module, data, n_images=77, batch_size=10)
    right = evaluate(module, data, batch_size=10).is_correct
    return {"right": torch.from_numpy(right), "statistics": state(module)}


def found(folder):
    """Return everything; called in one process by the test."""
    return {"trainings": trainings(folder), "normalisations": normalisations(), "figures": figures()}


def main(folder):
    with process_group():
        begin(folder / "begun by two")
        everything = found(folder) | {"waiting": waiting(), "failing": failing(), "is_first": is_first()}
        torch.save(everything, folder / f"{rank()}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
