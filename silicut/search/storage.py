"""Optuna's storages: a file that several processes may write and any may be killed over, or whatever a URL names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from silicut.records import BadFile, ToolMissing

_BEGINNING = b'{"op_code":'


def imported_optuna() -> Any:
    """Return the module `optuna`.

    Raises:
        ToolMissing: it is not installed (extra "search").
    """
    try:
        import optuna
    except ImportError:
        raise ToolMissing("optuna", "search") from None
    return optuna


def opened(storage: str | Path) -> Any:
    """Return the Optuna storage of a file (a journal) or of a URL.

    Raises:
        BadFile: the file is no journal of trials or damaged, or nothing can be reached at the URL.
    """
    place = str(storage)
    if "://" in place:
        return _at_url(place)
    path = Path(place)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not _begins_a_journal(path):
            raise BadFile(f"{place} is no journal of trials; give another file")
        journals = imported_optuna().storages.journal
        return journals.JournalStorage(journals.JournalFileBackend(place, _lock_of(place)))
    except (OSError, ValueError, KeyError) as error:
        raise BadFile(f"{place} cannot be used as a journal of trials ({error}); give another file") from None


def _at_url(url: str) -> Any:
    storages = imported_optuna().storages
    try:
        if url.startswith("redis"):
            return storages.JournalStorage(storages.journal.JournalRedisBackend(url))
        return storages.RDBStorage(url)
    except Exception as error:  # whatever the driver of a database raises
        scheme = url.partition("://")[0]  # the rest may hold a password
        raise BadFile(f"no trials can be stored at the given {scheme} URL ({error}); check it and its driver") from None


def _begins_a_journal(path: Path) -> bool:
    """Tell whether a file is empty or begins as Optuna's journals do; of its first line a kill may have left a part."""
    with path.open("rb") as file:
        beginning = file.read(len(_BEGINNING))
    return _BEGINNING.startswith(beginning)


@contextmanager
def without_chatter() -> Iterator[None]:
    """Keep Optuna from announcing studies on standard error."""
    logging = imported_optuna().logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _lock_of(place: str) -> Any:
    """Return what keeps other processes from writing to a journal: the system's lock, or Optuna's where there is none."""
    try:
        import fcntl  # noqa: F401
    except ImportError:
        return imported_optuna().storages.journal.JournalFileOpenLock(place)
    return _FileLock(place)


class _FileLock:
    """The operating system's lock on a journal, which ends with the process that holds it.

    Optuna's own locks are files that a killed process leaves behind, for which others then wait half a minute. A line that a
    kill has torn would make the journal unreadable; whoever writes next takes it off first.
    """

    def __init__(self, place: str) -> None:
        self._place, self._descriptor = place, -1

    def acquire(self) -> bool:
        """Wait until no other process writes."""
        import fcntl

        self._descriptor = os.open(self._place, os.O_RDWR)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.ftruncate(self._descriptor, Path(self._place).read_bytes().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Let other processes write."""
        os.close(self._descriptor)
