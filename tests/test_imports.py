"""The order of the rooms, read from the source, and what an import may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import silicut

PACKAGE = Path(silicut.__file__).parent
ROOMS = (
    "records graph numerics search training compress targets hardware accelerators zoo report flows cli"
).split()  # a room imports only rooms before it
STRANGERS = {("targets", "compress"), ("report", "accelerators")}  # in order, and yet they must not know each other
EVERYBODYS = {"version"}  # a module beside the rooms that imports nothing
HEAVY = ("torch", "onnx", "onnxruntime", "scipy", "matplotlib", "pydantic")


def imported_rooms(path: Path) -> set[tuple[str, int]]:
    """Return the rooms that a module imports, at its top or inside functions, with the line of each."""
    package = ("silicut", *path.relative_to(PACKAGE).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join((*start, *(node.module or "").split("."))).strip(".")
            names = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {(name.split(".")[1], node.lineno) for name in names if name.startswith("silicut.")}
    return found


def offences(room: str, path: Path) -> list[str]:
    """Return one line for each import of a module that its room may not make."""
    own = ROOMS.index(room)
    return [
        f"{path.relative_to(PACKAGE)}:{line} imports {other}"
        for other, line in sorted(imported_rooms(path))
        if other != room
        and other not in EVERYBODYS
        and (other not in ROOMS or ROOMS.index(other) > own or (room, other) in STRANGERS)
    ]


@pytest.mark.parametrize("room", [room for room in ROOMS if (PACKAGE / room).exists()])
def test_a_room_imports_only_rooms_before_it(room):
    modules = sorted((PACKAGE / room).rglob("*.py"))
    assert modules
    assert [offence for path in modules for offence in offences(room, path)] == []


def test_every_folder_is_a_room():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders - set(ROOMS) == set()


def test_a_wrong_import_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "targets").mkdir()
    path = tmp_path / "targets" / "engine.py"
    path.write_text(
        "import silicut.flows.prune\nfrom silicut import compress\nfrom ..zoo import data\nfrom . import x\n"
        "from silicut.records import Record\ndef f():\n    from silicut.report import page\n"
    )
    assert [line.split(":")[1] for line in offences("targets", path)] == [
        "2 imports compress",
        "1 imports flows",
        "7 imports report",
        "3 imports zoo",
    ]


def loaded_by(code: str) -> tuple[float, set[str]]:
    """Return the processor seconds that some code takes in a fresh interpreter, and the heavy packages it loads."""
    program = (
        f"import time; start = time.process_time()\n{code}\nimport sys; print(time.process_time() - start, *sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    seconds, *modules = answer.splitlines()[-1].split()
    return float(seconds), {name for name in modules if name in HEAVY}


def test_the_package_is_imported_quickly():
    seconds, heavy = loaded_by("import silicut; silicut.__version__")
    assert heavy == set()
    assert seconds < 0.5


@pytest.mark.parametrize(
    "code",
    [
        "from silicut.cli.app import run; run(['--version'])",
        "from silicut.cli.app import run; run(['prune', '--help'])",
        "from silicut.cli.app import run; run(['inspect', '--help'])",
        "from silicut.cli.app import run; run(['doctor', '--json'])",
        "from silicut.cli.app import run; run(['estimate', 'resnet20'])",
        "from silicut.cli.app import run; run(['measure', 'nowhere.onnx'])",
        "import silicut.records, silicut.targets, silicut.zoo, silicut.report, silicut.flows",
    ],
)
def test_what_needs_no_torch_loads_none(code):
    assert loaded_by(code)[1] & {"torch", "onnx", "onnxruntime", "matplotlib"} == set()
