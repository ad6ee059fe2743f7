"""Networks of timm, torchvision and transformers by name, with fresh weights: nothing is downloaded."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import nn

from silicut.records import BadFile, ConfigError, ToolMissing, read_json


def is_package_name(name: str) -> bool:
    """Return whether a name asks for a network of another package.

    Example:
        >>> [is_package_name(name) for name in ("timm:resnet18", "hf:nets/config.json", "mynet:build", "resnet20")]
        [True, True, False, False]
    """
    return ":" in name and name.partition(":")[0] in _BUILDERS


def package_network(name: str, n_classes: int | None = None) -> nn.Module:
    """Return a network of another package with fresh weights and that package's state-dict names.

    Args:
        name: "timm:NAME", "torchvision:NAME", "transformers:MODEL_TYPE" (an image classifier of the type's usual size),
            or "hf:PATH" of a local config.json, which a folder may stand for. The last two return the logits alone.
        n_classes: outputs; the package's or the file's number by default.

    Raises:
        ConfigError: the package has no such network, or cannot build it.
        BadFile: the file is missing or no configuration of an image classifier.
        ToolMissing: the package is not installed.
    """
    package, _, rest = name.partition(":")
    return _BUILDERS[package](rest, n_classes)


def _timm(name: str, n_classes: int | None) -> nn.Module:
    timm = _package("timm")
    _check_name("timm", name, timm.list_models())
    return _built(f"timm:{name}", timm.create_model, name, pretrained=False, **_given(num_classes=n_classes))  # type: ignore[no-any-return]


def _torchvision(name: str, n_classes: int | None) -> nn.Module:
    models = _package("torchvision").models
    _check_name("torchvision", name, models.list_models())
    return _built(f"torchvision:{name}", models.get_model, name, weights=None, **_given(num_classes=n_classes))  # type: ignore[no-any-return]


def _transformers(model_type: str, n_classes: int | None) -> nn.Module:
    _check_name("transformers", model_type, _classifier_types())
    return _classifier(f"transformers:{model_type}", {"model_type": model_type}, n_classes)


def _config_file(place: str, n_classes: int | None) -> nn.Module:
    types = _classifier_types()
    path = Path(place) / "config.json" if Path(place).is_dir() else Path(place)
    content = read_json(path)
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind not in types:
        raise BadFile(f"{path} must be the config.json of an image classifier of transformers, not of model_type {kind!r}")
    return _classifier(f"hf:{place}", content, n_classes)


def _classifier(name: str, content: dict[str, Any], n_classes: int | None) -> nn.Module:
    transformers = _package("transformers")
    kind = transformers.CONFIG_MAPPING[content["model_type"]]
    config = _built(name, kind.from_dict, {**content, **_given(num_labels=n_classes)})
    model = _built(name, transformers.AutoModelForImageClassification.from_config, config)
    # A class of its own rather than a module around it, so that state-dict names stay those of published weights.
    model.__class__ = _returning_logits(type(model))
    return model  # type: ignore[no-any-return]


def _returning_logits(kind: type[Any]) -> type[Any]:
    class Classifier(kind):  # type: ignore[misc]
        def forward(self, pixel_values: Any) -> Any:
            """Map images (n, 3, h, w) to logits (n, n_classes)."""
            return super().forward(pixel_values).logits

    Classifier.__name__ = kind.__name__
    return Classifier


def _classifier_types() -> list[str]:
    _package("transformers")
    auto = importlib.import_module("transformers.models.auto.modeling_auto")
    return sorted(auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)


_BUILDERS: dict[str, Callable[[str, int | None], nn.Module]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "transformers": _transformers,
    "hf": _config_file,
}


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ToolMissing(error.name or name, name) from None
    except Exception as error:  # packages built for another PyTorch fail in many ways
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            f"{name} is installed but cannot be imported ({reason}); install one built for this PyTorch"
        ) from error


def _check_name(package: str, name: str, known: Iterable[str]) -> None:
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, 3, 0.6) or known[:3]
        raise ConfigError(f"network must be one that {package} has, such as {', '.join(near)}, not {name!r}")


def _given(**arguments: int | None) -> dict[str, int]:
    return {key: value for key, value in arguments.items() if value is not None}


def _built(name: str, builder: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return builder(*arguments, **options)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(f"network {name!r} cannot be built: {reason}") from error
