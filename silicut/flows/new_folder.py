"""Folders for results: never one that holds something."""

from __future__ import annotations

from pathlib import Path

from silicut.records import OutputExists


def new_folder(folder: str | Path) -> Path:
    """Return the path of a folder for results, which nothing is in; it is not made.

    Raises:
        OutputExists: it is a file or holds something.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputExists(f"{folder} is a file; choose a new folder for the results")
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputExists(f"{folder} is not empty and nothing in it was changed; choose a new folder")
    return folder
