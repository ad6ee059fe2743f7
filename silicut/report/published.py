"""What other systems reach on known networks, each figure with its origin.

"recalled" is known from the literature and was not looked up, "modelled" follows from equations that a publication gives,
"paper" (none yet) is read in the publication. None of them was measured here; machines and clocks differ.
"""

from __future__ import annotations

from silicut.report.simulation import PublishedSystem

RECALLED, MODELLED = "recalled", "modelled"
_RESNET18, _RESNET20, _MOBILENET = "ResNet-18, 224 px", "ResNet-20, 32 px", "MobileNetV2, 224 px"
_GOP_RESNET18 = 3.63

PUBLISHED: dict[str, tuple[PublishedSystem, ...]] = {
    "resnet18": (
        PublishedSystem(
            system="N3H-Core (arXiv 2112.08193)",
            device="XC7Z020",
            network=_RESNET18,
            bits="2..8 / 2..4, ends 8/8",
            clock_mhz=100.0,
            ms=36.90,
            gops=98.0,
            label=MODELLED,
            note="its released equations with the policy that it publishes; a barrier after each layer",
        ),
        PublishedSystem(
            system="N3H-Core, uniform",
            device="XC7Z020",
            network=_RESNET18,
            bits="4/4, ends 8/8",
            clock_mhz=100.0,
            ms=42.45,
            gops=_GOP_RESNET18 / 42.45e-3,
            label=MODELLED,
            note="its released equations with the split of its logs",
        ),
        PublishedSystem(
            system="Mix&Match D1-3 (arXiv 2012.04240)",
            device="XC7Z020",
            network=_RESNET18,
            bits="4/4",
            clock_mhz=100.0,
            ms=47.1,
            gops=77.0,
            label=RECALLED,
        ),
        PublishedSystem(
            system="RMSMP",
            device="XC7Z020",
            network=_RESNET18,
            bits="4 and 8 / 4",
            clock_mhz=100.0,
            ms=36.6,
            gops=_GOP_RESNET18 / 36.6e-3,
            label=RECALLED,
        ),
        PublishedSystem(
            system="Mix&Match D2-3 (arXiv 2012.04240)",
            device="XC7Z045",
            network=_RESNET18,
            bits="4/4",
            clock_mhz=100.0,
            ms=10.1,
            gops=359.2,
            label=RECALLED,
        ),
        PublishedSystem(
            system="RMSMP",
            device="XC7Z045",
            network=_RESNET18,
            bits="4 and 8 / 4",
            clock_mhz=100.0,
            ms=8.6,
            gops=_GOP_RESNET18 / 8.6e-3,
            label=RECALLED,
        ),
    ),
    "resnet20": (
        PublishedSystem(
            system="nn2fpga",
            device="Kria K26",
            network=_RESNET20,
            bits="8/8",
            clock_mhz=None,
            ms=0.318,
            gops=None,
            label=RECALLED,
            note="a pipeline of all layers, 7,601 images a second, 636 DSP slices",
        ),
        PublishedSystem(
            system="Tensil",
            device="XCZU7EV",
            network=_RESNET20,
            bits="16/16",
            clock_mhz=None,
            ms=1e3 / 300,
            gops=None,
            label=RECALLED,
            note="300 images a second",
        ),
    ),
    "mobilenet-v2": (
        PublishedSystem(
            system="Wu et al. 2019 (Xilinx)",
            device="XCZU2",
            network=_MOBILENET,
            bits="8/8",
            clock_mhz=430.0,
            ms=1e3 / 205.3,
            gops=None,
            label=RECALLED,
            note="205 images a second, 212 DSP slices",
        ),
        PublishedSystem(
            system="DPU B4096",
            device="Kria K26",
            network=_MOBILENET,
            bits="8/8",
            clock_mhz=300.0,
            ms=1e3 / 290.6,
            gops=None,
            label=RECALLED,
            note="291 images a second",
        ),
    ),
}
"""By name in the zoo."""


_MACS = {"resnet18": 1.814e9, "resnet20": 40.55e6, "mobilenet-v2": 300.8e6}
_TOLERANCE = 0.02


def published_for(network: str, n_macs: int) -> tuple[PublishedSystem, ...]:
    """Return what is known of other systems with a network; none where it is another one, or a smaller one.

    Args:
        network: a name or path that speaks of it.
        n_macs: products of one inference.

    Example:
        >>> [each.device for each in published_for("runs/resnet20-w4a4", 40_551_040)]
        ['Kria K26', 'XCZU7EV']
        >>> published_for("runs/resnet20-half", 20_000_000)
        ()
    """
    plain = network.lower().replace("_", "-")
    fitting = [name for name, known in _MACS.items() if name in plain and abs(n_macs / known - 1) < _TOLERANCE]
    return PUBLISHED[fitting[0]] if len(fitting) == 1 else ()
