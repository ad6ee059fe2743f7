"""Colours by what they mean, in a light and a dark theme; figures for the page use them as CSS variables."""

from __future__ import annotations

from collections.abc import Mapping

N_SECTION_COLOURS = 8

LIGHT: Mapping[str, str] = {
    "page": "#f6f6f3",
    "card": "#ffffff",
    "ink": "#1d2530",
    "muted": "#616c7a",
    "line": "#dfe2e5",
    "faint": "#eef0f1",
    "accent": "#2b5f8f",
    "budget": "#b03a3a",
    "good": "#2f7350",
    "removed": "#8d959e",
    "section0": "#7d8894",
    "section1": "#4f7cac",
    "section2": "#3f9188",
    "section3": "#c2933a",
    "section4": "#8a6fa8",
    "section5": "#7c9a4a",
    "section6": "#b5755c",
    "section7": "#8794a3",
}
"""The light theme: role -> colour; also that of files made for other pages."""

DARK: Mapping[str, str] = {
    "page": "#13161b",
    "card": "#1a1e25",
    "ink": "#e4e8ed",
    "muted": "#98a3b0",
    "line": "#323944",
    "faint": "#232932",
    "accent": "#7fb2e0",
    "budget": "#ee8a82",
    "good": "#7cc79f",
    "removed": "#848e9a",
    "section0": "#8c98a6",
    "section1": "#6f9ccd",
    "section2": "#56aca2",
    "section3": "#d6ab58",
    "section4": "#a68ec4",
    "section5": "#99b868",
    "section6": "#cd937b",
    "section7": "#98a6b6",
}
"""The dark theme: the same roles."""

SENTINELS: Mapping[str, str] = {role: f"#00fe{number:02x}" for number, role in enumerate(LIGHT)}
"""Role -> a colour that stands for it in a drawing until `with_variables` puts the CSS variable there."""


def css_variables(theme: Mapping[str, str]) -> str:
    """Return the declarations of a theme's CSS variables.

    Example:
        >>> css_variables({"ink": "#111111"})
        '--ink:#111111;'
    """
    return "".join(f"--{role}:{colour};" for role, colour in theme.items())


def with_variables(svg: str) -> str:
    """Return a drawing made in `SENTINELS` with every colour as a CSS variable.

    Example:
        >>> with_variables(f'style="fill: {SENTINELS["ink"]}"')
        'style="fill: var(--ink)"'
    """
    for role, colour in SENTINELS.items():
        svg = svg.replace(colour, f"var(--{role})")
    return svg
