"""The user's loaders as `silicut.training.TrainingData`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from silicut.records import ConfigError, content_hash
from silicut.training import Batches


class LoaderData:
    """Two loaders that yield (images, labels) each time they are walked through.

    Batches are cut anew to the size asked for. Order and augmentation depend on (seed, epoch) alone as long as the
    loader draws them from torch's generator, its own `generator`, or a sampler with `set_epoch`; torch's global
    generator is put back.

    Args:
        name: how messages call the data.
        training: images to train on.
        evaluation: images to evaluate on.
    """

    def __init__(self, name: str, training: Batches, evaluation: Batches) -> None:
        for kind, loader in (("training", training), ("evaluation", evaluation)):
            if not isinstance(loader, Iterable) or isinstance(loader, Iterator):
                raise ConfigError(
                    f"the {kind} loader of {name} must be an iterable that can be walked through again, such as a "
                    f"DataLoader, not {type(loader).__name__}"
                )
        self._name, self._training, self._evaluation = name, training, evaluation

    @property
    def name(self) -> str:
        """How messages call the data."""
        return self._name

    @cached_property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image: those of the first evaluation image."""
        c, h, w = self._first[0].shape[1:]
        return c, h, w

    @cached_property
    def n_classes(self) -> int:
        """One more than the largest label of the evaluation images."""
        return 1 + max(int(y.max()) for _, y in self._evaluation)

    @cached_property
    def n_training(self) -> int:
        """Images of one epoch; counted by walking through the loader once if it does not say."""
        return _n_images(self._training)

    @cached_property
    def n_evaluation(self) -> int:
        """Images evaluated on; counted by walking through the loader once if it does not say."""
        return _n_images(self._evaluation)

    def training_batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one epoch; a last batch of a single image is left out."""
        for x, y in _rebatched(_reproducible(self._training, epoch, seed), batch_size):
            if len(y) > 1:
                yield x, y

    def evaluation_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all evaluation images."""
        return _rebatched(iter(self._evaluation), batch_size)

    @cached_property
    def _first(self) -> tuple[Tensor, Tensor]:
        first: Any = next(iter(self._evaluation), None)
        is_pair = isinstance(first, tuple | list) and len(first) == 2 and all(isinstance(t, Tensor) for t in first)
        if not is_pair or first[0].ndim != 4 or first[1].shape != first[0].shape[:1]:
            raise ConfigError(f"the loaders of {self._name} must yield tensors (images (n, c, h, w), labels (n,))")
        return first[0], first[1]


def _n_images(loader: Any) -> int:
    if getattr(loader, "drop_last", False) and loader.batch_size:
        return len(loader) * int(loader.batch_size)
    dataset = getattr(loader, "dataset", None)
    return len(dataset) if isinstance(dataset, Sized) else sum(len(y) for _, y in loader)


def _reproducible(loader: Any, epoch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Walk through a loader with torch's generator seeded, and put back as it was between batches."""
    own_seed = int(content_hash([seed, epoch]), 16) % 2**63
    if isinstance(getattr(loader, "generator", None), torch.Generator):
        loader.generator.manual_seed(own_seed)
    if hasattr(getattr(loader, "sampler", None), "set_epoch"):
        loader.sampler.set_epoch(epoch)
    state, batches = torch.Generator().manual_seed(own_seed).get_state(), None
    while True:
        outer = torch.get_rng_state()
        torch.set_rng_state(state)
        try:
            batches = iter(loader) if batches is None else batches
            batch = next(batches, None)
        finally:
            state = torch.get_rng_state()
            torch.set_rng_state(outer)
        if batch is None:
            return
        yield batch


def _rebatched(batches: Iterator[tuple[Tensor, Tensor]], batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    kept: list[tuple[Tensor, Tensor]] = []
    n_kept = 0
    for x, y in batches:
        if len(y) == batch_size and not kept:
            yield x, y
            continue
        kept.append((x, y))
        n_kept += len(y)
        if n_kept < batch_size:
            continue
        xs, ys = torch.cat([x for x, _ in kept]), torch.cat([y for _, y in kept])
        n_whole = n_kept // batch_size * batch_size
        for start in range(0, n_whole, batch_size):
            yield xs[start : start + batch_size], ys[start : start + batch_size]
        kept, n_kept = ([(xs[n_whole:], ys[n_whole:])] if n_whole < n_kept else []), n_kept - n_whole
    if n_kept:
        yield torch.cat([x for x, _ in kept]), torch.cat([y for _, y in kept])
