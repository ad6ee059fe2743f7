"""One finished run of the command line on the tiny network, shared by the tests that only look at runs."""

import contextlib
import dataclasses
import io
from pathlib import Path

import pytest
import tiny


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run's folder and what it printed."""

    folder: Path
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory):
    """A folder of cached profiles."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, tiny_cache):
    pytest.importorskip("onnxruntime")
    from silicut.cli.app import run

    folder = tmp_path_factory.mktemp("finished") / "run"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(tiny.arguments(folder, tiny_cache))
    return FinishedRun(folder, code, out.getvalue(), err.getvalue())


def pytest_collection_modifyitems(items):
    from silicut.records import SilicutError

    marked = [item for item in items if item.get_closest_marker("needs_rtl")]
    if not marked:
        return
    try:
        from silicut.hardware.rtl import has_tools

        is_there = has_tools()
    except SilicutError:
        is_there = False
    for item in marked if not is_there else []:
        item.add_marker(pytest.mark.skip(reason="needs a C++ compiler and the extra rtl"))


@pytest.fixture(scope="session")
def rtl_cache(request):
    """A folder of compiled models, kept between runs."""
    return request.config.cache.mkdir("rtl")
