"""Locks of journals: one process at a time, and whoever held one that was killed holds it no longer."""

import signal
import subprocess
import sys

import pytest

from silicut.records import InUse, Journal

HOLDS = (
    "import sys; from silicut.records import Journal; j = Journal(sys.argv[1]); j.lock(); print('held', flush=True); input()"
)


@pytest.fixture
def other(tmp_path):
    """A process that holds the lock of tmp_path/run/metrics.jsonl, until it is told a line or killed."""
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "run" / "metrics.jsonl")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_until_the_first_is_killed(other, tmp_path):
    journal = Journal(tmp_path / "run" / "metrics.jsonl")
    for _ in range(2):  # a refusal leaves nothing behind
        with pytest.raises(InUse) as error:
            journal.lock()
        assert str(error.value) == (
            f"another process is at work in {tmp_path / 'run'} and nothing was changed; wait until it ends, or choose a new "
            "folder"
        )
    journal.append({"reading": "and writing go on"})  # the lock keeps out only those who ask for it
    other.send_signal(signal.SIGKILL)
    other.wait()
    journal.lock()()


def test_a_lock_ends_when_it_is_told_to_and_with_its_journal(tmp_path):
    first, second = (Journal(tmp_path / "journal.jsonl") for _ in range(2))
    release = first.lock()
    with pytest.raises(InUse):
        second.lock()
    release()
    release()
    second.lock()
    with pytest.raises(InUse):
        first.lock()
    del second
    first.lock()
    first.append({"a": 1})
    assert list(first) == [{"a": 1}]
