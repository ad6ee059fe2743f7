"""Files that survive a kill: atomic writes, the journal, the cache, tensors; and progress, and the named errors."""

import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silicut import records
from silicut.records import (
    BadFile,
    Cache,
    ConfigError,
    Event,
    Journal,
    SilicutError,
    ToolMissing,
    Tracker,
    UnsupportedModel,
    default_cache_folder,
    load_tensors,
    save_tensors,
    silent,
    write_atomically,
)


class Killed(BaseException):
    pass


# Atomic writes.


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_write_that_is_stopped_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, moment):
    path = tmp_path / "file.json"
    write_atomically(path, b"old")

    def stop(*_):
        raise Killed

    monkeypatch.setattr(os, "fsync", stop) if moment == "fsync" else monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(Killed):
        write_atomically(path, b"new and longer")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_process_killed_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.json"
    write_atomically(path, b"old")
    code = (
        "import os, pathlib; from silicut.records import write_atomically; os.fsync = lambda _: os._exit(9); "
        f"write_atomically(pathlib.Path({str(path)!r}), b'never seen')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_threads_may_write_the_same_file(tmp_path):
    path = tmp_path / "deep" / "er" / "file"
    contents = [bytes([65 + i]) * 100_000 for i in range(4)]
    threads = [threading.Thread(target=write_atomically, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert [p.name for p in path.parent.iterdir()] == ["file"]


# The journal.


def test_events_come_back_in_order(tmp_path):
    journal = Journal(tmp_path / "deep" / "journal.jsonl")
    assert list(journal) == []
    events = [{"epoch": i, "text": "a\nb\r\u2028ä", "nested": {"x": [1, None]}} for i in range(3)]
    for event in events:
        journal.append(event)
    assert list(journal) == events
    assert list(Journal(str(journal.path))) == events
    assert len(journal.path.read_bytes().splitlines()) == 3


@given(st.integers(0, 60), st.binary(max_size=3))
@settings(max_examples=60, deadline=None)
def test_a_torn_line_costs_only_itself(tmp_path_factory, n_kept, garbage):
    journal = Journal(tmp_path_factory.mktemp("journal") / "journal.jsonl")
    journal.append({"epoch": 1})
    whole = journal.path.read_bytes()
    journal.append({"epoch": 2, "loss": 0.5, "text": "xxxxxxxxxxxx"})
    line = journal.path.read_bytes()[len(whole) :]
    torn = line[:n_kept]
    journal.path.write_bytes(whole + torn + garbage.replace(b"\n", b"").replace(b"\r", b""))
    before = list(journal)
    journal.append({"epoch": 3})
    after = list(journal)
    assert before[0] == after[0] == {"epoch": 1}
    assert after[-1] == {"epoch": 3}
    assert after[:-1] == before
    assert len(before) <= 2


def test_a_line_that_is_no_event_is_passed_over(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"a": 1}\n[1, 2]\n\n3\n\x00\x00\x00\n{"a": 2}\n{"a": 3')
    journal = Journal(path)
    assert [event["a"] for event in journal] == [1, 2]
    journal.append({"a": 4})
    assert [event["a"] for event in journal] == [1, 2, 4]


def test_numbers_that_json_lacks_are_not_written(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.append({"loss": float("nan")})
    assert not journal.path.exists()


def test_every_append_reaches_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    Journal(tmp_path / "journal.jsonl").append({"a": 1})
    assert len(synced) == 1


# The cache.


def test_values_come_back_by_key(tmp_path):
    cache = Cache(tmp_path / "cache")
    key = {"cpu": "x", "sizes": [1, 2.0]}
    assert cache.get(key) is None
    cache.put(key, {"ms": [1.5, 2]})
    assert cache.get(key) == {"ms": [1.5, 2]}
    assert cache.get({"sizes": (1, 2), "cpu": "x"}) == {"ms": [1.5, 2]}
    assert cache.get({"cpu": "y"}) is None
    cache.put(key, 3)
    assert Cache(str(tmp_path / "cache")).get(key) == 3
    (entry,) = (tmp_path / "cache").iterdir()
    assert json.loads(entry.read_text())["key"] == key


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"key": 1}', b"\xff\xff", b"3", b'"value"', b"null"])
def test_a_damaged_entry_counts_as_absent_and_can_be_replaced(tmp_path, content):
    cache = Cache(tmp_path)
    cache.put("key", 1)
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(content)
    assert cache.get("key") is None
    cache.put("key", 2)
    assert cache.get("key") == 2


def test_a_journal_of_a_key_stands_beside_its_value(tmp_path):
    cache = Cache(tmp_path)
    cache.put("key", 1)
    cache.journal("key").append({"a": 1})
    assert list(cache.journal("key")) == [{"a": 1}]
    assert list(cache.journal("other")) == []
    assert cache.get("key") == 1


def test_the_default_folder_is_the_users(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert default_cache_folder() == Path("/some/where/silicut")
    assert Cache().folder == Path("/some/where/silicut")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_cache_folder() == Path("/home/me/.cache/silicut")


# Tensors.

ARRAYS = {
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
    "strided": np.arange(10, dtype=np.int64)[::3],
    "half": np.ones(3, np.float16),
    "count": np.array(7),
    "mask": np.array([True, False]),
    "empty": np.zeros((0, 4), np.uint8),
    "bytes": np.array([1, 255], np.uint8),
}


def test_arrays_come_back_with_shape_and_type(tmp_path):
    path = save_tensors(tmp_path / "deep" / "t.safetensors", ARRAYS, {"made by": "test"})
    found = load_tensors(str(path))
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    assert b"made by" in path.read_bytes()


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    whole = save_tensors(tmp_path / "t.safetensors", ARRAYS).read_bytes()
    torn = tmp_path / "torn.safetensors"
    for n in (0, 1, 7, 8, 20, len(whole) // 2, len(whole) - 1):
        torn.write_bytes(whole[:n])
        with pytest.raises(BadFile) as caught:
            load_tensors(torn)
        assert str(caught.value).startswith(f"{torn} is not a readable safetensors file (")
        assert str(caught.value).endswith("); it may be cut off: copy it again")


def test_missing_files_folders_and_other_kinds_are_refused(tmp_path):
    missing = tmp_path / "none.safetensors"
    with pytest.raises(BadFile) as caught:
        load_tensors(missing)
    assert str(caught.value) == f"{missing} does not exist; check the path"
    pickled = tmp_path / "weights.pt"
    pickled.write_bytes(pickle.dumps({"a": 1}))
    for path in (tmp_path, pickled):
        with pytest.raises(BadFile, match="is not a readable safetensors file"):
            load_tensors(path)


# Progress.


def test_progress_counts_steps_and_guesses_the_time_left(monkeypatch):
    now = iter([10.0, 12.0, 14.0, 15.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    seen = []
    tracker = Tracker(seen.append, "profile", 2)
    for note in ("one", "", "late"):
        tracker.step(note)
    assert seen == [
        Event("profile", 0, 2, None, ""),
        Event("profile", 1, 2, 2.0, "one"),
        Event("profile", 2, 2, 0.0, ""),
        Event("profile", 3, 2, 0.0, "late"),
    ]
    assert silent(seen[0]) is None


# Errors.


def test_messages_are_sentences_with_a_next_step():
    assert str(ConfigError("a must be 1, not 2", "b must be 3, not 4")) == "a must be 1, not 2; b must be 3, not 4"
    assert (
        str(ToolMissing("onnx", "onnxruntime"))
        == "onnx is not installed; install it with: pip install 'silicut[onnxruntime]'"
    )
    assert str(UnsupportedModel(["one", "two"], "Do this")) == "one; two. Do this"


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("a must be 1, not 2", "b must be 3, not 4"),
        ToolMissing("onnx", "onnxruntime"),
        UnsupportedModel(["one", "two"], "Do this"),
        ToolMissing("a compiler", advice="get one"),
        BadFile("it is torn"),
    ],
)
def test_errors_pass_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_every_error_is_a_silicut_error():
    errors = [getattr(records, name) for name in records.__all__ if isinstance(getattr(records, name), type)]
    errors = [error for error in errors if issubclass(error, Exception)]
    assert len(errors) == 16
    assert all(issubclass(error, SilicutError) for error in errors)
