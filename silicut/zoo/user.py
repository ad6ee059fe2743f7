"""The user's own networks, data, losses and metrics, named "module:function" or "file.py:function"."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from silicut.records import ConfigError
from silicut.training import TrainingData, is_training_data
from silicut.zoo.data.loaders import LoaderData


def is_user_name(name: str) -> bool:
    """Return whether a name has the form "module:function" or "file.py:function".

    Example:
        >>> [is_user_name(name) for name in ("mynet:build", "nets/my.py:build", "resnet20", "mnist:/data")]
        [True, True, False, False]
    """
    module, colon, function = name.rpartition(":")
    is_module = all(part.isidentifier() for part in module.split("."))
    return bool(colon) and function.isidentifier() and (is_module or module.endswith(".py"))


def may_be_imported(name: str) -> bool:
    """Return whether there is a module or file of a user's name; nothing of it is executed."""
    place = name.rpartition(":")[0]
    if place.endswith(".py"):
        return Path(place).is_file()
    _with_working_folder()
    return importlib.util.find_spec(place.split(".", 1)[0]) is not None


def user_function(name: str, kind: str = "function") -> Callable[..., Any]:
    """Return the function that "module:function" or "file.py:function" names, by importing it: this runs its code.

    The working folder is put on the import path, where it stays, so that the module can import its neighbours.

    Args:
        name: what to import.
        kind: what messages call it ("network", "loss").

    Raises:
        ConfigError: the name has another form, the import fails, or there is no such function.
    """
    if not is_user_name(name):
        raise ConfigError(f"{kind} must be module:function or file.py:function, such as mynet:build, not {name!r}")
    place, _, attribute = name.rpartition(":")
    module = _imported(place, kind)
    if not hasattr(module, attribute):
        near = difflib.get_close_matches(attribute, dir(module), 1)
        hint = f"; did you mean {place}:{near[0]}?" if near else ""
        raise ConfigError(f"{kind} {name!r} must name a function of {place}, which has no {attribute!r}{hint}")
    function = getattr(module, attribute)
    if not callable(function):
        raise ConfigError(f"{kind} {name!r} must be a function, not {type(function).__name__}")
    return function  # type: ignore[no-any-return]


def user_network(name: str) -> nn.Module:
    """Return the module that the user's function builds, called without arguments.

    Raises:
        ConfigError: the import or the call fails, or something else than a module comes back.
    """
    built = _called(name, "network")
    if not isinstance(built, nn.Module):
        raise ConfigError(f"network {name!r} must return a torch.nn.Module, not {type(built).__name__}")
    return built


def user_data(name: str) -> TrainingData:
    """Return the data of the user's function: it returns a `TrainingData`, or (training loader, evaluation loader).

    A loader is any iterable of (images, labels) that can be walked through again and again, such as
    `torch.utils.data.DataLoader`.

    Raises:
        ConfigError: the import or the call fails, or something else comes back.
    """
    loaders = _called(name, "data")
    if is_training_data(loaders):
        return loaders
    if not isinstance(loaders, tuple | list) or len(loaders) != 2:
        raise ConfigError(f"data {name!r} must return (training loader, evaluation loader), not {type(loaders).__name__}")
    return LoaderData(name, *loaders)


def _called(name: str, kind: str) -> Any:
    function = user_function(name, kind)
    try:
        return function()
    except Exception as error:
        raise ConfigError(f"{kind} {name!r} failed when called: {type(error).__name__}: {error}") from error


def _imported(place: str, kind: str) -> ModuleType:
    folder = _with_working_folder()
    try:
        return _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name != place.split(".", 1)[0] and error.name != place:
            raise ConfigError(f"{kind} {place!r} cannot be imported: {error}; install what it needs") from error
        raise ConfigError(f"{kind} {place!r} must be a Python module in {folder} or installed, none was found") from None
    except FileNotFoundError:
        raise ConfigError(f"{kind} file {place} does not exist; check the path") from None
    except Exception as error:
        raise ConfigError(f"{kind} {place!r} cannot be imported: {type(error).__name__}: {error}") from error


def _with_working_folder() -> str:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return folder


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(path)
    name = f"silicut_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
