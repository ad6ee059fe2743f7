"""Several processes that train one network together, as torchrun starts them.

Everything here is trivial where there is one process, so that callers write one program: all processes call the same
functions in the same order. What only one may do (measuring, solving, writing files) goes through `from_first`.
"""

from __future__ import annotations

import itertools
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

Result = TypeVar("Result")
_LONGEST_STEP = timedelta(days=7)  # the others wait for a profile without a say; a process that ends takes all along
_FAILURES = "silicut failures"


class _State:
    """What this process knows of its group besides torch's own."""

    store: Any = None
    is_alone = False


def n_processes() -> int:
    """Return how many processes train together; 1 without a process group and inside `from_first`."""
    return dist.get_world_size() if dist.is_initialized() and not _State.is_alone else 1


def rank() -> int:
    """Return this process's number among them, 0 for the first."""
    return dist.get_rank() if n_processes() > 1 else 0


def is_first() -> bool:
    """Return whether this is the process that prints and writes."""
    return rank() == 0


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started: by NCCL for tensors on CUDA devices, by Gloo for all others.

    Nothing happens where torchrun started none, or where the group exists already. Each process gets the CUDA device of
    its local rank as its current one. After an error the group is left as it is: to close it would wait for processes that
    wait themselves.
    """
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    has_cuda = torch.cuda.is_available()
    if has_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    _State.store, own_rank, n = next(iter(rendezvous("env://")))
    backend = "cpu:gloo,cuda:nccl" if has_cuda else "gloo"
    dist.init_process_group(backend, store=_State.store, rank=own_rank, world_size=n, timeout=_LONGEST_STEP)
    yield
    dist.destroy_process_group()
    _State.store = None


def from_first(make: Callable[[], Result]) -> Result:
    """Return what the first process makes, in all processes; the others wait for it without using a processor.

    While it is made the first process is alone: what it calls shares no work. An error is raised in all processes alike.

    Args:
        make: called in the first process only; its result must be picklable.
    """
    if n_processes() == 1:
        return make()
    answer: list[Any] = [None, None]
    if is_first():
        try:
            with _alone():
                answer[0] = make()
        except Exception as error:
            answer[1] = _sendable(error)
            _send(answer)
            raise
    _send(answer)
    if answer[1] is not None:
        raise answer[1]
    result: Result = answer[0]
    return result


def _send(answer: list[Any]) -> None:
    dist.broadcast_object_list(answer, 0)


def _sendable(error: Exception) -> Exception:
    """Return the error, or its words where it cannot pass between processes."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


@contextmanager
def _alone() -> Iterator[None]:
    _State.is_alone = True
    try:
        yield
    finally:
        _State.is_alone = False


def summed(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, in all of them."""
    if n_processes() == 1:
        return tensor
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total


def gathered(value: Result) -> list[Result]:
    """Return the values of all processes, in order of rank, in all of them."""
    if n_processes() == 1:
        return [value]
    values: list[Any] = [None] * n_processes()
    dist.all_gather_object(values, value)
    return values


def own_turns(items: Iterable[Result]) -> Iterator[Result]:
    """Return every n-th item for n processes, beginning with the one of this process's rank."""
    return itertools.islice(items, rank(), None, n_processes())


@dataclass(frozen=True, eq=False)
class Share:
    """One process's part of a batch.

    Attributes:
        x: its images.
        y: their labels.
        weight: what its mean loss counts for in the mean over processes, so that the result is the mean over all images.
        is_part: False where the batch has fewer images than there are processes, so that each computes all of it.
    """

    x: Tensor
    y: Tensor
    weight: float
    is_part: bool


def own_share(x: Tensor, y: Tensor) -> Share:
    """Return this process's part of a batch that all processes hold: consecutive images, as many as others within one.

    Example:
        >>> own_share(torch.zeros(3, 1), torch.zeros(3)).weight
        1.0
    """
    n, n_images, own = n_processes(), len(y), rank()
    if n == 1 or n_images < n:
        return Share(x, y, 1.0, is_part=False)
    start, end = n_images * own // n, n_images * (own + 1) // n
    return Share(x[start:end], y[start:end], (end - start) * n / n_images, is_part=True)


def is_first_to_fail() -> bool:
    """Return whether this process is to say why it failed: the first to fail of its group does.

    Where no group was joined yet all processes fail alike, and the one of rank 0 speaks.
    """
    if _State.store is None:
        return int(os.environ.get("RANK", "0")) == 0
    try:
        return int(_State.store.add(_FAILURES, 1)) == 1
    except RuntimeError:  # the store ended with the process that kept it, which has said why
        return False
