"""The pages build without a warning, what they show runs, and their lists are those of the package."""

import os
import re
import subprocess
import sys
from pathlib import Path

import docstrings
import pytest
import registries

from silicut.accelerators.gemm.config import PRESETS

DOCS = Path(__file__).parents[2] / "docs"

# Both builders in one process, because what the pages import takes longer than the pages.
BUILD = """
import sys
from sphinx.cmd.build import main

docs, folder = sys.argv[1:]
common = ["-q", "-W", "--keep-going", "-d", f"{folder}/doctrees", docs]
sys.exit(max(main(["-b", builder, *common, f"{folder}/{builder}"]) for builder in ("html", "doctest")))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the pages, run their examples, and return where the HTML lies; both with warnings as errors."""
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("docs")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    command = [sys.executable, "-c", BUILD, str(DOCS), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.needs_sphinx
def test_pages_are_built_and_their_examples_run(built):
    pages = {path.relative_to(built / "html").with_suffix("").as_posix() for path in (built / "html").rglob("*.html")}
    sources = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md") if path.name[0] != "_"}
    assert sources <= pages
    report = (built / "doctest" / "output.txt").read_text()
    n_run = int(re.search(r"(\d+) tests?\n", report)[1])
    assert n_run > 30
    assert " 0 failures in tests" in report


@pytest.mark.needs_sphinx
def test_pages_load_nothing_from_elsewhere(built):
    for path in (built / "html").rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"(https?:[^\"]+)", path.read_text())
        assert loaded == [], path


def test_links_between_pages_lead_to_files():
    for page in DOCS.rglob("*.md"):
        if "generated" in page.parts or "_build" in page.parts:
            continue
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "generated" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_that_pages_name_exist():
    for page in DOCS.rglob("*.md"):
        if "_build" not in page.parts and "generated" not in page.parts:
            named = re.findall(r"`((?:silicut|tests|bench|docs|examples)/[\w/]+\.\w+)`", page.read_text())
            assert [path for path in named if not (DOCS.parent / path).exists()] == [], page.name


def test_lists_hold_everything_that_is_registered():
    listed = {
        "_engines.md": registries.registered("engines"),
        "_solvers.md": registries.registered("solvers"),
        "_black_box.md": registries.registered("black-box solvers"),
        "_values.md": registries.registered("values"),
        "_networks.md": [entry.name for entry in registries.registered("networks")],
        "_data.md": [entry.name for entry in registries.registered("data")],
        "_onnx_nodes.md": registries.registered("onnx nodes"),
        "_operators.md": registries.registered("channel rules").keys() | registries.registered("onnx rules").keys(),
    }
    listed["_accelerators.md"] = PRESETS
    for name, expected in listed.items():
        text = registries.PAGES[name]()
        assert all(re.search(rf"`{re.escape(each)}\b", text) for each in expected), name
    for name in ("_engines.md", "_solvers.md", "_black_box.md", "_values.md"):
        rows = [line for line in registries.PAGES[name]().splitlines()[2:] if line]
        assert all(re.fullmatch(r"\S+ .+\.", row.strip("| ").split(" | ")[1]) for row in rows), f"{name}: no sentence"


def test_every_instruction_is_there_with_its_fields():
    from silicut.accelerators.gemm.program import INSTRUCTIONS
    from silicut.hardware import fields_of

    page = registries.instructions()
    for queue in INSTRUCTIONS.queues:
        assert f"## Queue {queue.name}" in page
        for kind in queue.kinds:
            section = page.split(f"### {kind.mnemonic}\n")[1].split("\n##")[0]
            assert len(section) > 30
            named = re.findall(r"^\| [\d:]+ \| (\w+) \|", section, re.M)
            assert named == [field.name for field in fields_of(kind)], kind.mnemonic


def test_every_executor_is_told_of():
    from silicut.flows.executors import EXECUTORS

    text = (DOCS / "howto" / "exchange.md").read_text()
    assert all(f"`{name}`" in text for name in EXECUTORS)


def test_every_command_and_option_has_help():
    from typer.main import get_command

    from silicut.cli.app import app

    text = registries.commands()
    for name, command in get_command(app).commands.items():
        assert f"## silicut {name}\n\n{command.help}" in text
        for parameter in command.params:
            assert parameter.help, f"{name} {parameter.name}"


def test_operators_are_listed_by_what_becomes_of_them():
    followed, refused, frozen = registries.operators().split("\n\n")
    assert "`conv2d`" in followed
    assert "`conv2d`" not in refused + frozen
    assert "it normalises over channels" in registries.refusals()


def test_every_public_name_is_documented_once():
    pages = registries.reference()
    described = re.findall(r"^\.\. auto\w+:: (\S+)$", "\n".join(pages.values()), re.M)
    assert len(described) == len(set(described))
    short = {name.rpartition(".")[2] for name in described}
    assert {"prune", "inspect", "Network", "Problem", "Profile", "measure", "sp_lamp", "RunSummary", "Plan"} <= short


def test_sections_of_docstrings_become_rubrics():
    text = """Return it.

Args:
    a, b: numbers,
        finite.
    *rest: others.

Returns:
    A sum,
    rounded.

Example:
    >>> 1
    1
"""
    assert docstrings.converted(text.splitlines()) == [
        "Return it.",
        "",
        ".. rubric:: Args",
        "",
        "- **a**, **b**: numbers,",
        "  finite.",
        "- **\\*rest**: others.",
        "",
        ".. rubric:: Returns",
        "",
        "A sum,",
        "rounded.",
        "",
        ".. rubric:: Example",
        "",
        ">>> 1",
        "1",
        "",
    ]
    assert docstrings.converted(["One line: with a colon."]) == ["One line: with a colon."]


def test_bars_are_amounts_but_in_code():
    text = ["At most |x - y| * 2, `a|b|c` and x | y.", "", "Args:", "    e: |e| is small.", "", "Example:", "    >>> |x|"]
    assert docstrings.converted(text) == [
        "At most \\|x - y\\| * 2, `a|b|c` and x | y.",
        "",
        ".. rubric:: Args",
        "",
        "- **e**: \\|e\\| is small.",
        "",
        ".. rubric:: Example",
        "",
        ">>> |x|",
        "",
    ]


def test_prefixes_of_network_names_are_listed():
    for page in ("cli.md", "howto/own-network.md"):
        text = (DOCS / page).read_text()
        assert all(re.search(rf"`{prefix}:[A-Z]+`", text) for prefix in registries.registered("packages")), page


def test_operators_that_rules_stop_at_are_told_through_what_rules_call():
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", registries.refusals(), re.M))
    reasons = {name: why for names, why in rows.items() for name in re.findall(r"`(\w+)`", names)}
    assert reasons["embedding"] == "it looks its rows up by number; embeddings stay whole"
    assert "its operands are spread over each other" in reasons["add"]
    assert "relu" not in reasons
