"""The folder of a design search: what was found so far, so that nothing is searched or timed twice, and the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from silicut.accelerators.gemm.config import GemmConfig
from silicut.compress.quantisation.bits import BitPlan
from silicut.flows.new_folder import new_folder
from silicut.records import Journal, OutputExists, canonical_json, content_hash, write_atomically
from silicut.report.design import DesignSummary

JOURNAL_FILE, TRIALS_FILE = "progress.jsonl", "trials.log"
SUMMARY_FILE, CONFIG_FILE, PLAN_FILE, PAGE_FILE = "design.json", "config.json", "bits.json", "report.html"


class DesignFolder:
    """Keeps what steps found, each under all that it depends on.

    Attributes:
        path: of the folder.
    """

    def __init__(self, path: Path, journal: Journal) -> None:
        self.path, self._journal = path, journal
        self._known = {event["key"]: event["value"] for event in journal if "key" in event}

    @classmethod
    @contextmanager
    def opened(cls, folder: str | Path, request: Mapping[str, Any]) -> Iterator[DesignFolder]:
        """Open a new folder, or that of the same network and problem.

        Raises:
            OutputExists: it holds anything else.
            InUse: another process is at work in it.
        """
        path = Path(folder)
        journal = Journal(path / JOURNAL_FILE)
        first = next(iter(journal), None) if path.is_dir() else None
        asked = {"network": request["network"], "problem": request["problem"]}
        if first is None:
            new_folder(path)
        elif first.get("request") != asked:
            raise OutputExists(
                f"{path} holds another search ({first.get('request', {}).get('problem', 'unknown')}) and nothing in it was "
                "changed; choose a new folder"
            )
        release = journal.lock()
        try:
            if first is None:
                journal.append({"request": asked})
            yield cls(path, journal)
        finally:
            release()

    @property
    def trials(self) -> str:
        """Where black-box searches keep their trials."""
        return str(self.path / TRIALS_FILE)

    def once(self, step: str, depends_on: Any, find: Callable[[], Any]) -> Any:
        """Return what a step found, from the journal where it is there (JSON values)."""
        key = content_hash({"step": step, "on": content_hash(canonical_json(depends_on).encode())})
        if key not in self._known:
            self._known[key] = find()
            self._journal.append({"step": step, "key": key, "value": self._known[key]})
        return self._known[key]

    def write(self, summary: DesignSummary, config: GemmConfig, plan: BitPlan) -> dict[str, str]:
        """Write config.json, bits.json, design.json and report.html; return the hashes of the first two.

        Raises:
            ToolMissing: jinja2 or matplotlib is not installed; the other files are written all the same.
        """
        from silicut.report.design_page import render_design

        hashes = {"config": config.hash, "bits": plan.hash}
        whole = replace(summary, hashes=hashes)
        config.save(self.path / CONFIG_FILE)
        plan.save(self.path / PLAN_FILE)
        whole.save(self.path / SUMMARY_FILE)
        write_atomically(self.path / PAGE_FILE, render_design(whole).encode())
        return hashes
