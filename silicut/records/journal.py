"""An append-only file of JSON lines that survives a kill at any moment."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from silicut.records.errors import InUse


class Journal:
    """Events in the order in which they happened, one JSON object a line.

    Every append reaches the disk before it returns. A line torn by a kill is ignored when read and closed off before
    the next append, so it costs that one event.

    Example:
        >>> import tempfile
        >>> journal = Journal(Path(tempfile.mkdtemp()) / "metrics.jsonl")
        >>> journal.append({"epoch": 1})
        >>> [event["epoch"] for event in journal]
        [1]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, event: dict[str, Any]) -> None:
        """Write one event (JSON values only) at the end."""
        line = json.dumps(event, allow_nan=False).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            if file.tell() and not _ends_with_newline(file):
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def lock(self) -> Callable[[], Any]:
        """Keep other processes from locking the journal, and return what ends that.

        It ends with this process too, however that ends, and with the journal itself. Systems without such locks (Windows,
        some network file systems) let everybody in.

        Raises:
            InUse: another process has locked it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        release = weakref.finalize(self, os.close, descriptor)
        if not _is_locked(descriptor):
            release()
            raise InUse(
                f"another process is at work in {self.path.parent} and nothing was changed; wait until it ends, or choose a "
                "new folder"
            )
        return release

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def _is_locked(descriptor: int) -> bool:
    """Lock an open file, and tell whether that was possible or is not known here."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks: runs are more use than refusals
        return True
    return True


def _ends_with_newline(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")
