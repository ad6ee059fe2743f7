"""A run's folder: what was asked, which steps are done, and where each result lies.

A step's result is one line of `metrics.jsonl`, written when the step is complete; a resumed run takes it from there. So a
kill costs the step it fell into, and training steps are epochs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from silicut.records import BadFile, ConfigError, Journal, OutputExists, content_hash, read_json, write_atomically
from silicut.records.record import canonical_json

_SETTINGS = "run.json"


class RunFolder:
    """The folder of one run.

    Args:
        path: made when needed.
        settings: what was asked, as JSON values; a resumed run must ask the same.
        resumes: go on in a folder that holds this run.

    Raises:
        OutputExists: the folder holds something and `resumes` is False.
        ConfigError: it holds a run that was asked something else.
        BadFile: there is nothing to resume.
    """

    def __init__(self, path: str | Path, settings: dict[str, Any], *, resumes: bool = False) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise OutputExists(f"{self.path} is a file; choose a new folder for the results")
        has_content = self.path.is_dir() and any(self.path.iterdir())
        if resumes:
            self._check_same(settings)
        elif has_content:
            raise OutputExists(
                f"{self.path} is not empty and nothing in it was changed; choose a new folder or add --resume"
            )
        else:
            write_atomically(self.path / _SETTINGS, (canonical_json(settings) + "\n").encode())
        self.journal = Journal(self.path / "metrics.jsonl")
        self._done = {event["step"]: event["result"] for event in self.journal if "step" in event}

    def _check_same(self, settings: dict[str, Any]) -> None:
        if not (self.path / _SETTINGS).is_file():
            raise BadFile(f"{self.path} holds no run to resume; leave --resume out to start one")
        before = read_json(self.path / _SETTINGS)
        if content_hash(before) != content_hash(settings):
            changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
            raise ConfigError(
                f"the run in {self.path} was asked something else ({', '.join(changed)}); resume it with the same options"
            )

    def file(self, name: str) -> Path:
        """Return the path of a file in the folder."""
        return self.path / name

    def step(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a step's result (JSON values): from the journal where it was done before, else made and written."""
        if name not in self._done:
            result = make()
            self.journal.append({"step": name, "result": result})
            self._done[name] = result
        return self._done[name]
