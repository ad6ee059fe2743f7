"""Run a page's commands and write down what they printed: `python docs/record.py docs/tutorial.md [FOLDER]`.

Python blocks with a caption are written to that file. Console blocks are run line by line in one new folder: "$ command",
which a backslash continues on the next line behind "> ". What comes on standard output takes the place of what stood below
the command; progress on standard error is left out. With FOLDER, a new one, what the commands made stays there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_BLOCK = re.compile(r"^```(?P<kind>console|\{code-block\} python\n:caption: (?P<file>\S+))\n(?P<body>.*?)^```$", re.M | re.S)


def main(page: Path, folder: Path) -> None:
    """Run a page in a folder and rewrite it."""
    folder.mkdir(parents=True, exist_ok=True)
    text = page.read_text(encoding="utf-8")
    page.write_text(_BLOCK.sub(lambda block: _done(block, folder), text), encoding="utf-8")


def _done(block: re.Match[str], folder: Path) -> str:
    if block["file"]:
        (folder / block["file"]).write_text(block["body"].lstrip("\n"), encoding="utf-8")
        return block[0]
    commands = re.findall(r"^\$ ((?:.*\\\n> )*.*)$", block["body"], re.M)
    return "```console\n" + "\n".join(f"$ {command}\n{_output(command, folder)}" for command in commands) + "```"


def _output(shown: str, folder: Path) -> str:
    command = shown.replace("\\\n> ", "")
    started = time.monotonic()
    here = {"PYTHONPATH": str(Path(__file__).parents[1]), "XDG_CACHE_HOME": str(folder / ".cache"), "COLUMNS": "100"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=os.environ | here | {"PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    print(f"{time.monotonic() - started:6.1f} s  {command}", file=sys.stderr)
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    return "\n".join([*lines, ""]) if lines else ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else temporary).resolve())
