"""The networks that papers on several engines count, from the tables of the papers that introduced them.

The zoo's networks of these names differ from them: its AlexNet is a later one without groups, its GoogLeNet has kernels of 3
instead of 5, its SqueezeNet reads 224 pixels and rounds pools down. The layers here are

- `alexnet-2012`: Krizhevsky, Sutskever, Hinton, 2012. Two halves of channels that meet in the third convolution alone; the
  first convolution makes maps of 55 x 55. Ten half layers;
- `vgg16`: Simonyan, Zisserman, arXiv 1409.1556, configuration D;
- `googlenet-2014`: Szegedy et al., arXiv 1409.4842, table 1, without the two auxiliary classifiers;
- `squeezenet-1.1-227`: Iandola et al., arXiv 1602.07360, version 1.1 as its authors published it: 227 pixels, pools that
  round up, so maps of 113, 56, 28 and 14.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from silicut.accelerators.multi_engine.layers import ConvLayer


def _layer(name: str, n: int, m: int, size: int, kernel: int, inputs: tuple[str, ...] = (), *, stride: int = 1) -> ConvLayer:
    return ConvLayer(
        name=name, in_channels=n, out_channels=m, height=size, width=size, kernel=(kernel, kernel), strides=(stride, stride),
        inputs=inputs,
    )  # fmt: skip


def _alexnet() -> Iterator[ConvLayer]:
    for half in "ab":
        yield _layer(f"conv1{half}", 3, 48, 55, 11, stride=4)
    for half in "ab":
        yield _layer(f"conv2{half}", 48, 128, 27, 5, (f"conv1{half}",))
    for half in "ab":
        yield _layer(f"conv3{half}", 256, 192, 13, 3, ("conv2a", "conv2b"))
    for half in "ab":
        yield _layer(f"conv4{half}", 192, 192, 13, 3, (f"conv3{half}",))
    for half in "ab":
        yield _layer(f"conv5{half}", 192, 128, 13, 3, (f"conv4{half}",))


def _vgg16() -> Iterator[ConvLayer]:
    n, inputs = 3, ()  # type: int, tuple[str, ...]
    for block, (m, n_layers) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for i in range(1, n_layers + 1):
            yield _layer(f"conv{block}_{i}", n, m, 224 >> (block - 1), 3, inputs)
            n, inputs = m, (f"conv{block}_{i}",)


_INCEPTIONS = (  # name, size of the map, outputs: 1x1, before 3x3, 3x3, before 5x5, 5x5, behind the pool
    ("3a", 28, 64, 96, 128, 16, 32, 32),
    ("3b", 28, 128, 128, 192, 32, 96, 64),
    ("4a", 14, 192, 96, 208, 16, 48, 64),
    ("4b", 14, 160, 112, 224, 24, 64, 64),
    ("4c", 14, 128, 128, 256, 24, 64, 64),
    ("4d", 14, 112, 144, 288, 32, 64, 64),
    ("4e", 14, 256, 160, 320, 32, 128, 128),
    ("5a", 7, 256, 160, 320, 32, 128, 128),
    ("5b", 7, 384, 192, 384, 48, 128, 128),
)


def _googlenet() -> Iterator[ConvLayer]:
    yield _layer("conv1", 3, 64, 112, 7, stride=2)
    yield _layer("conv2.reduce", 64, 64, 56, 1, ("conv1",))
    yield _layer("conv2", 64, 192, 56, 3, ("conv2.reduce",))
    n, inputs = 192, ("conv2",)  # type: int, tuple[str, ...]
    for name, size, one, before_3, three, before_5, five, pooled in _INCEPTIONS:
        yield _layer(f"{name}.1x1", n, one, size, 1, inputs)
        yield _layer(f"{name}.3x3.reduce", n, before_3, size, 1, inputs)
        yield _layer(f"{name}.3x3", before_3, three, size, 3, (f"{name}.3x3.reduce",))
        yield _layer(f"{name}.5x5.reduce", n, before_5, size, 1, inputs)
        yield _layer(f"{name}.5x5", before_5, five, size, 5, (f"{name}.5x5.reduce",))
        yield _layer(f"{name}.pool", n, pooled, size, 1, inputs)
        n, inputs = one + three + five + pooled, tuple(f"{name}.{end}" for end in ("1x1", "3x3", "5x5", "pool"))


_FIRES = (
    (16, 64, 56),
    (16, 64, 56),
    (32, 128, 28),
    (32, 128, 28),
    (48, 192, 14),
    (48, 192, 14),
    (64, 256, 14),
    (64, 256, 14),
)
"""Outputs of the squeezing layer, of each expanding one, size of the map."""


def _squeezenet() -> Iterator[ConvLayer]:
    yield _layer("conv1", 3, 64, 113, 3, stride=2)
    n, inputs = 64, ("conv1",)  # type: int, tuple[str, ...]
    for number, (squeezed, expanded, size) in enumerate(_FIRES, 2):
        name = f"fire{number}"
        yield _layer(f"{name}.squeeze", n, squeezed, size, 1, inputs)
        yield _layer(f"{name}.1x1", squeezed, expanded, size, 1, (f"{name}.squeeze",))
        yield _layer(f"{name}.3x3", squeezed, expanded, size, 3, (f"{name}.squeeze",))
        n, inputs = 2 * expanded, (f"{name}.1x1", f"{name}.3x3")
    yield _layer("conv10", n, 1000, 14, 1, inputs)


PUBLISHED_NETWORKS: dict[str, Callable[[], Iterator[ConvLayer]]] = {
    "alexnet-2012": _alexnet,
    "vgg16": _vgg16,
    "googlenet-2014": _googlenet,
    "squeezenet-1.1-227": _squeezenet,
}


def published_layers(name: str) -> tuple[ConvLayer, ...]:
    """Return the convolutions of a network of `PUBLISHED_NETWORKS`, in order of execution.

    Example:
        >>> layers = published_layers("alexnet-2012")
        >>> len(layers), sum(layer.n_macs for layer in layers)
        (10, 665784864)
    """
    return tuple(PUBLISHED_NETWORKS[name]())
