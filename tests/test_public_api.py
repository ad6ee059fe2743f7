import dataclasses
import importlib
import inspect
import re
import subprocess
import sys

import pytest

import silicut

CALLABLE = [name for name in silicut.__all__ if callable(getattr(silicut, name))]


def documented_names(thing, heading):
    """Return the names explained under a heading of a docstring, such as "Args:"."""
    text = inspect.getdoc(thing) or ""
    section = re.search(rf"^{heading}:\n((?:[ ]+.*\n?|\n)+)", text, re.MULTILINE)
    lines = section[1].splitlines() if section else []
    starts = [match[1] for line in lines if (match := re.match(r" {4}(\w+(?:, \w+)*):", line))]
    return {name for start in starts for name in start.split(", ")}


def test_the_names_are_those_that_are_promised():
    assert silicut.__all__ == [
        "PAPER",
        "BitPlan",
        "CompileOptions",
        "CompiledNetwork",
        "Design",
        "DesignOptions",
        "GemmTarget",
        "LayerBits",
        "MeasureOptions",
        "Methods",
        "Plan",
        "ProfileOptions",
        "PruneOptions",
        "Pruned",
        "QuantiseOptions",
        "Quantised",
        "Recipe",
        "Restrictions",
        "Simulated",
        "__version__",
        "apply",
        "compare",
        "compile_program",
        "design",
        "engine",
        "explain",
        "inspect",
        "kept_parts",
        "load",
        "load_compiled",
        "measure",
        "profile_network",
        "prune",
        "quantise",
        "simulate",
        "sliced_optimizer_state",
        "sliced_state_dict",
    ]
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", silicut.__version__)
    assert isinstance(silicut.PAPER, silicut.PruneOptions)


@pytest.mark.parametrize("name", CALLABLE)
def test_a_name_is_documented_and_typed(name):
    thing = getattr(silicut, name)
    assert inspect.getdoc(thing), f"{name} has no docstring"
    parameters = inspect.signature(thing).parameters
    if dataclasses.is_dataclass(thing):
        wanted = {field.name for field in dataclasses.fields(thing)}
        assert documented_names(thing, "Attributes") == wanted
    else:
        signature = inspect.signature(thing)
        assert all(p.annotation is not p.empty for p in parameters.values())
        assert signature.return_annotation is not signature.empty
        found = documented_names(thing, "Args")
        assert found <= set(parameters), f"{name} documents what it does not take"
        assert found == set(parameters), f"{name} leaves arguments unexplained"


def test_names_come_from_the_modules_that_hold_them():
    assert silicut.prune is importlib.import_module("silicut.flows.prune").prune
    with pytest.raises(AttributeError, match="module 'silicut' has no attribute 'prnue'"):
        _ = silicut.prnue


def test_a_star_import_gives_the_names():
    program = "from silicut import *; print(sorted(n for n in dir() if n[0] != '_'))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert answer.strip() == str(sorted(name for name in silicut.__all__ if name[0] != "_"))
