"""A run's folder: what was asked, which steps are done, and where each result lies.

A step's result is one line of `metrics.jsonl`, written when the step is complete; a resumed run takes it from there. So a
kill costs the step it fell into, and training steps are epochs. Where several processes run together, all go through the
same steps and only the first reads and writes. Processes that do not belong together are kept apart: the journal is locked.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from silicut.records import BadFile, ConfigError, Journal, OutputExists, read_json, write_atomically
from silicut.records.record import canonical_json
from silicut.training import from_first, is_first

_SETTINGS, _JOURNAL = "run.json", "metrics.jsonl"
_FIRST_FILES = ("run.json", "metrics.jsonl", "profile*.json", "divergences*.jsonl", "losses-of-bits.json")
CHECKPOINT, MASKED = "checkpoint", "masked"  # folders of trainings: after channels are removed, and before
_SUBJECT = "works on"


def profile_file(engine: str, number: int) -> str:
    """Return the name of the file of a profile: that of the first engine needs no engine's name.

    Example:
        >>> profile_file("onnxruntime", 0), profile_file("openvino", 1)
        ('profile.json', 'profile-openvino.json')
    """
    return "profile.json" if number == 0 else f"profile-{engine}.json"


class RunFolder:
    """The folder of one run, which no other run may write to until it is closed; a context manager that closes it.

    Args:
        path: made when needed.
        settings: what was asked, as JSON values; a resumed run must ask the same.
        resumes: go on in a folder that holds this run.
        shared_with: a folder whose files serve several runs on the same network and data; its own by default.

    Raises:
        OutputExists: the folder holds something and `resumes` is False.
        ConfigError: it holds a run that was asked something else.
        BadFile: there is nothing to resume.
        InUse: another run is at work in it.
    """

    def __init__(
        self, path: str | Path, settings: dict[str, Any], *, resumes: bool = False, shared_with: Path | None = None
    ) -> None:
        self.path, self._resumes = Path(path), resumes
        self._shared = shared_with or self.path
        self.journal = Journal(self.path / _JOURNAL)
        self._unlock: Callable[[], Any] = lambda: None
        self._was_there, self._done = from_first(lambda: self._opened(settings))

    def _opened(self, settings: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
        """Begin the run or find it; return whether its folder was there and the results of the steps that are done."""
        if self.path.exists() and not self.path.is_dir():
            raise OutputExists(f"{self.path} is a file; choose a new folder for the results")
        was_there = self.path.is_dir()
        if self._resumes:
            self._compare(self._settings(), settings)
            self._unlock = self.journal.lock()
        elif was_there and self._holds_something():
            raise OutputExists(
                f"{self.path} is not empty and nothing in it was changed; choose a new folder, or resume the run in it "
                "(--resume, resumes=True)"
            )
        else:
            self._unlock = self.journal.lock()
            write_atomically(self.path / _SETTINGS, (canonical_json(settings) + "\n").encode())
        done = {event["step"]: event["result"] for event in self.journal if "step" in event and "result" in event}
        return was_there, done

    def _holds_something(self) -> bool:
        """Return whether there is more than what a run leaves that is killed while it begins."""
        return any(path.name != _JOURNAL or path.stat().st_size for path in self.path.iterdir())

    def close(self) -> None:
        """Let other runs in. Harmless when repeated."""
        self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _settings(self) -> dict[str, Any]:
        if not (self.path / _SETTINGS).is_file():
            raise BadFile(f"{self.path} holds no run to resume; start one without --resume (resumes=True)")
        settings = read_json(self.path / _SETTINGS)
        if not isinstance(settings, dict):
            raise BadFile(f"{self.path / _SETTINGS} is damaged; start the run again in a new folder")
        return settings

    def _compare(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        before, now = (json.loads(canonical_json(values)) for values in (before, now))
        changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        if changed:
            raise ConfigError(
                f"the run in {self.path} was begun with another {', '.join(changed)}; resume it with the same or choose a "
                "new folder"
            )

    def works_on(self, subject: dict[str, Any]) -> None:
        """Write down what the run works on (hashes and such, JSON values), or check that a resumed run still does.

        Raises:
            ConfigError: something is not the same; it is named.
        """
        self._compare(self.step(_SUBJECT, lambda: subject), subject)

    @contextlib.contextmanager
    def kept_from(self, name: str) -> Iterator[None]:
        """Remove what the run begun here has written if it fails before the step `name` is done.

        So a command that was corrected can use the same folder. What a resumed run found stays, and so does everything
        when the run is interrupted.
        """
        try:
            yield
        except Exception:
            if name not in self._done and not self._resumes and is_first():
                self._remove()
            raise

    def _remove(self) -> None:
        for pattern in _FIRST_FILES:
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)
        shutil.rmtree(self.file(MASKED), ignore_errors=True)
        if not self._was_there:
            with contextlib.suppress(OSError):  # it holds something of the user's by now
                self.path.rmdir()

    def file(self, name: str) -> Path:
        """Return the path of a file in the folder."""
        return self.path / name

    def shared(self, name: str) -> Path:
        """Return the path of a file that runs on the same network and data share."""
        return self._shared / name

    def has_done(self, name: str) -> bool:
        """Return whether a step is complete."""
        return name in self._done

    def step(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a step's result (JSON values): from the journal where it was done before, else made and written.

        All processes make it, unless `make` leaves that to the first.
        """
        if name not in self._done:
            result = make()
            if is_first():
                self.journal.append({"step": name, "result": result})
            self._done[name] = result
        return self._done[name]
