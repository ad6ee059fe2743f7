"""Where results that cost time to make are kept between runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from silicut.records.journal import Journal
from silicut.records.record import content_hash, write_atomically


def default_cache_folder() -> Path:
    """Return the folder of the user's caches for this package ($XDG_CACHE_HOME or ~/.cache, then "silicut")."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "silicut"


class Cache:
    """A folder of JSON values by content-addressed key; a damaged or torn entry counts as absent.

    Example:
        >>> import tempfile
        >>> cache = Cache(Path(tempfile.mkdtemp()))
        >>> cache.get({"cpu": "x"}) is None
        True
        >>> cache.put({"cpu": "x"}, {"ms": 1.5})
        >>> cache.get({"cpu": "x"})
        {'ms': 1.5}
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_cache_folder()

    def _path(self, key: Any) -> Path:
        return self.folder / f"{content_hash(key)}.json"

    def get(self, key: Any) -> Any | None:
        """Return the value stored under a JSON-like key, or None."""
        try:
            return json.loads(self._path(key).read_text(encoding="utf-8"))["value"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: Any, value: Any) -> None:
        """Store a JSON value under a JSON-like key, atomically."""
        write_atomically(self._path(key), json.dumps({"key": key, "value": value}, allow_nan=False).encode())

    def journal(self, key: Any) -> Journal:
        """Return the append-only journal kept under a JSON-like key."""
        return Journal(self.folder / f"{content_hash(key)}.jsonl")
