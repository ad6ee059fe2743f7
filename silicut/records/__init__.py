"""What every other room stores and reports through: records, journal, cache, progress, tensors and the named errors."""

from silicut.records.cache import Cache, default_cache_folder
from silicut.records.errors import (
    AccumulatorTooNarrow,
    BadFile,
    BadProgram,
    BuildFailed,
    ConfigError,
    DoesNotFit,
    InUse,
    NotFaster,
    NothingToPrune,
    NumericMismatch,
    OutcomeError,
    OutputExists,
    SilicutError,
    ToolMissing,
    TooNoisy,
    UnsupportedModel,
)
from silicut.records.journal import Journal
from silicut.records.progress import Event, Progress, Tracker, silent
from silicut.records.record import Record, canonical_json, content_hash, read_json, write_atomically
from silicut.records.tensors import load_tensors, save_tensors

__all__ = [
    "AccumulatorTooNarrow",
    "BadFile",
    "BadProgram",
    "BuildFailed",
    "Cache",
    "ConfigError",
    "DoesNotFit",
    "Event",
    "InUse",
    "Journal",
    "NotFaster",
    "NothingToPrune",
    "NumericMismatch",
    "OutcomeError",
    "OutputExists",
    "Progress",
    "Record",
    "SilicutError",
    "TooNoisy",
    "ToolMissing",
    "Tracker",
    "UnsupportedModel",
    "canonical_json",
    "content_hash",
    "default_cache_folder",
    "load_tensors",
    "read_json",
    "save_tensors",
    "silent",
    "write_atomically",
]
