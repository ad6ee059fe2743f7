"""Weights from files of the usual kinds, without executing code, and into modules."""

from __future__ import annotations

import pickle
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from silicut.records import BadFile, ConfigError, load_tensors
from silicut.zoo.naming import known_as

_TORCH = (".pt", ".pth", ".th", ".bin", ".ckpt")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")
_PREFIXES = ("module.", "_orig_mod.")
_WAY_OUT = (
    "load it where you trust it and save only its weights: torch.save(model.state_dict(), 'weights.pt') or "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)


def load_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file by their state-dict names; reading never executes code.

    Read are .safetensors, .npz, and PyTorch's .pt .pth .th .bin .ckpt (weights only; a state dict, or one under
    "state_dict", "model" and the like). The prefixes "module." of data-parallel and "_orig_mod." of compiled modules are
    taken off. bfloat16 comes back as float32.

    Raises:
        BadFile: the file is missing, cut off, of another kind, carries code, or holds NaN.
    """
    path = Path(path)
    if not path.is_file():
        raise BadFile(f"{path} does not exist; check the path")
    readers = {".safetensors": load_tensors, ".npz": _npz} | dict.fromkeys(_TORCH, _torch)
    if path.suffix not in readers:
        raise BadFile(f"{path} must be a file of weights ({', '.join(readers)}), not {path.suffix or 'without a suffix'}")
    arrays = _without_prefixes(readers[path.suffix](path))
    if not arrays:
        raise BadFile(f"{path} holds no weights; save model.state_dict()")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise BadFile(f"{path} holds NaN in {name!r}; its training diverged, use an earlier checkpoint")
    return arrays


def assign_weights(module: nn.Module, weights: Mapping[str, np.ndarray]) -> str:
    """Copy arrays into a module by state-dict name; every name and shape must match, or nothing is changed.

    Only batch norm's counters of batches may be missing; scalars may come as arrays of one. Values are cast to the
    module's types. Other namings of the same architecture are recognised (`silicut.zoo.naming`).

    Returns:
        What was renamed or left out, in one sentence; "" for nothing.

    Raises:
        ConfigError: names are missing or unexpected, or shapes differ; the first three of each are named.
    """
    wanted = module.state_dict()
    weights, note = known_as(weights, wanted)
    weights = {name: _with_shape_of(wanted.get(name), array) for name, array in weights.items()}
    missing = [name for name in wanted if name not in weights and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in weights if name not in wanted]
    wrong = [name for name in wanted if name in weights and tuple(wanted[name].shape) != weights[name].shape]
    problems = []
    if missing:
        problems.append(f"{len(missing)} weights are missing ({_first(missing)})")
    if unexpected:
        problems.append(f"{len(unexpected)} weights are not of this network ({_first(unexpected)})")
    if wrong:
        shapes = [f"{name} must be {tuple(wanted[name].shape)}, not {weights[name].shape}" for name in wrong]
        problems.append(f"{len(wrong)} weights have another shape ({_first(shapes)})")
    if problems:
        raise ConfigError(*problems, _hint(wanted, weights, wrong if not (missing or unexpected) else []))
    given = {name: torch.from_numpy(np.array(weights[name], order="C")) for name in wanted if name in weights}
    module.load_state_dict({**wanted, **given})
    return note


def _with_shape_of(wanted: Tensor | None, array: np.ndarray) -> np.ndarray:
    """Turn an array of one, as some files hold scalars such as counters, into the scalar that is wanted."""
    return array.reshape(()) if wanted is not None and wanted.ndim == 0 and array.shape == (1,) else array


def _hint(wanted: Mapping[str, Tensor], weights: Mapping[str, np.ndarray], wrong: list[str]) -> str:
    is_head = wrong and all(tuple(wanted[name].shape[1:]) == weights[name].shape[1:] for name in wrong)
    if is_head and len({weights[name].shape[0] for name in wrong}) == 1 and len(wrong) <= 2:
        has, asked = weights[wrong[0]].shape[0], wanted[wrong[0]].shape[0]
        return f"the weights are for {has} classes and the network has {asked}; build it with n_classes={has}"
    return "check that the weights belong to this network"


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _npz(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise BadFile(f"{path} is not a readable .npz file; it may be cut off: copy it again")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except ValueError:
        raise BadFile(f"{path} holds Python objects, which could execute code; save plain arrays") from None
    except (OSError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise BadFile(f"{path} is not a readable .npz file ({error}); copy it again") from None


def _torch(path: Path) -> dict[str, np.ndarray]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols; what matters comes as an error
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if _carries_code(path, error):
            raise BadFile(f"{path} carries code or Python objects and was not read; {_WAY_OUT}") from None
        reason = f"{type(error).__name__} {error}".splitlines()[0].strip()
        raise BadFile(f"{path} is not a readable PyTorch file ({reason}); it may be cut off: copy it again") from None
    while isinstance(content, Mapping) and (inner := _wrapped(content)) is not None:
        content = inner
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise BadFile(f"{path} must hold a state dict (names to tensors), not {_kind(content)}; {_WAY_OUT}")
    return {str(name): _array(value) for name, value in content.items()}


def _carries_code(path: Path, error: Exception) -> bool:
    """Whether torch refused a whole file for its content: a TorchScript archive or a pickle of more than tensors."""
    if isinstance(error, RuntimeError):
        return "TorchScript" in str(error)
    with path.open("rb") as file:
        is_pickle = file.read(1) == b"\x80"
    return isinstance(error, pickle.UnpicklingError) and (is_pickle or zipfile.is_zipfile(path))


def _wrapped(content: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    found = (content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping))
    return next(found, None)


def _kind(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a mapping with {', '.join(map(repr, list(content)[:3]))}"
    return type(content).__name__


def _array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).contiguous().numpy()


def _without_prefixes(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for prefix in (*_PREFIXES, *_PREFIXES):
        if arrays and all(name.startswith(prefix) for name in arrays):
            arrays = {name.removeprefix(prefix): array for name, array in arrays.items()}
    return arrays
