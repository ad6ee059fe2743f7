"""Trials that outlive their process: kills at any moment, several processes at once, other tools' eyes."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from black_box_cases import Logged, arrays

from silicut.records import BadFile, ConfigError, ToolMissing
from silicut.search import Outcome, Parameter, Space, TrialStore, minimise, trial_store
from silicut.search.worker import is_running, this_worker

optuna = pytest.importorskip("optuna", reason="needs the extra search")

CASES = Path(__file__).with_name("black_box_cases.py")
POINT = {"rows": 2, "columns": 3, "lanes": 4, "depth": 1, "order": "mn"}
KEY = (2, 3, 4, 1, "mn")


def ready(store, log, solver, seed, n, pause_s):
    """Start a process that is ready to search."""
    command = [sys.executable, str(CASES), *map(str, (store, log, solver, seed, n, pause_s))]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command, text=True, **streams)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def begun(*arguments):
    """Start a search in a process of its own."""
    process = ready(*arguments)
    start(process)
    return process


def start(process):
    """Let a process that is ready search."""
    process.stdin.write("\n")
    process.stdin.flush()


def finished(process):
    """Return what a search printed."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert err == ""
    return json.loads(out)[0]


def noted(log, event):
    """Return the keys of the evaluations that began or ended, in order, with the process."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [(pid, tuple(key)) for what, pid, *key in lines if what == event]


def complete_keys(store):
    """Return the keys of the complete trials, read by Optuna alone."""
    backend = optuna.storages.journal.JournalFileBackend(str(store))
    study = optuna.load_study(study_name="two arrays", storage=optuna.storages.JournalStorage(backend))
    states = (optuna.trial.TrialState.COMPLETE,)
    return [tuple(t.params[p.name] for p in arrays().space.parameters) for t in study.get_trials(states=states)]


def test_five_kills_lose_no_evaluation_and_repeat_none(tmp_path):
    store, log, chance = tmp_path / "trials.log", tmp_path / "calls.log", random.Random(0)
    n_evaluations, done_before = 75, []
    for number in range(5):
        process = begun(store, log, "annealing", 4, n_evaluations, 0.002)
        while len(noted(log, "end")) < 12 * (number + 1):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        done = complete_keys(store)
        assert done[: len(done_before)] == done_before
        assert len({key for _, key in noted(log, "end")} - set(done)) <= number + 1  # only what was in flight
        done_before = done
    point, curve, n, n_known = finished(begun(store, log, "annealing", 4, n_evaluations, 0.002))
    begins = Counter(key for _, key in noted(log, "begin"))
    assert n == n_evaluations == len(begins)
    assert n_known >= len(done_before) >= 55
    assert sum(begins.values()) <= n_evaluations + 5
    last_process = noted(log, "begin")[-1][0]
    assert not {key for pid, key in noted(log, "begin") if pid == last_process} & set(done_before)
    assert len(complete_keys(store)) == len(set(complete_keys(store))) == n_evaluations
    undisturbed = minimise(arrays(), "annealing", n_evaluations, 4)
    assert [point, curve] == [list(undisturbed.best.point.values()), [list(step) for step in undisturbed.curve]]


@pytest.mark.parametrize(("solvers", "seeds"), [(("annealing", "annealing"), (1, 1)), (("tabu", "random"), (1, 2))])
def test_two_processes_on_one_storage_repeat_nothing(tmp_path, solvers, seeds):
    store, log = tmp_path / "trials.log", tmp_path / "calls.log"
    runs = [ready(store, log, solver, seed, 45, 0.005) for solver, seed in zip(solvers, seeds, strict=True)]
    for run in runs:
        start(run)
    found = [finished(run) for run in runs]
    begins = Counter(key for _, key in noted(log, "begin"))
    assert max(begins.values()) == 1
    assert len(begins) == sum(n - n_known for *_, n, n_known in found)
    assert len({pid for pid, _ in noted(log, "begin")}) >= len(set(seeds))  # the same search twice may wait all the time
    for solver, seed, (point, curve, *_) in zip(solvers, seeds, found, strict=True):
        alone = minimise(arrays(), solver, 45, seed)
        assert [point, curve] == [list(alone.best.point.values()), [list(step) for step in alone.curve]]


@pytest.mark.parametrize("solver", ["annealing", "ddpg", "evolution", "random", "tabu", "tpe"])
def test_what_is_stored_brings_every_solver_back_to_where_it_was(tmp_path, solver):
    if solver == "ddpg":
        pytest.importorskip("stable_baselines3", reason="needs the extra rl")
    store = tmp_path / "trials.log"
    before = minimise(arrays(), solver, 27, seed=2, store=store)
    after = minimise(arrays(), solver, 36, seed=2, store=store)
    undisturbed = minimise(arrays(), solver, 36, seed=2)
    assert [(e.point, e.outcome) for e in after.evaluations] == [(e.point, e.outcome) for e in undisturbed.evaluations]
    assert after.n_known == before.n_evaluations == before.n_evaluations - before.n_known


def test_a_trial_says_what_was_found_by_whom_and_why_not(tmp_path):
    result = minimise(arrays(), "random", 12, seed=9, store=tmp_path / "new" / "trials.log")
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "new" / "trials.log"))
    study = optuna.load_study(study_name="two arrays", storage=optuna.storages.JournalStorage(backend))
    assert len(study.trials) == 12
    for trial, evaluation in zip(study.trials, result.evaluations, strict=True):
        assert trial.params == evaluation.point
        assert trial.value == evaluation.outcome.cost
        assert trial.constraints == {"limits": evaluation.outcome.violation}
        attributes = trial.user_attrs
        assert (attributes["solver"], attributes["seed"], attributes["worker"]) == ("random", 9, this_worker())
        assert tuple(attributes["reasons"]) == evaluation.outcome.reasons
        assert attributes["details"] == evaluation.outcome.details
        assert 0 <= attributes["seconds"] < 60
    assert result.best.outcome.cost == study.best_value


def test_a_database_is_a_storage_too(tmp_path):
    url = f"sqlite:///{tmp_path}/trials.db"
    first = minimise(arrays(), "tabu", 6, store=url)
    again = minimise(arrays(), "tabu", 8, store=url)
    assert [e.is_known for e in again.evaluations] == [True] * 6 + [False] * 2
    assert [e.outcome for e in again.evaluations[:6]] == [e.outcome for e in first.evaluations]


def test_infinite_costs_are_stored(tmp_path):
    store = TrialStore(tmp_path / "trials.log", "n", arrays().space)
    outcome = Outcome(float("inf"), 2.5, ("no room",), {"cycles": None})
    store.evaluated(POINT, lambda _: outcome, {})
    assert dict(TrialStore(tmp_path / "trials.log", "n", arrays().space).outcomes()) == {KEY: outcome}


def test_a_line_that_a_kill_has_torn_costs_that_line(tmp_path):
    path = tmp_path / "trials.log"
    minimise(arrays(), "random", 5, store=path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:40])
    assert minimise(arrays(), "random", 7, store=path).n_known == 5
    assert path.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_an_evaluation_that_fails_is_no_outcome(tmp_path):
    store = TrialStore(tmp_path / "trials.log", "n", arrays().space)

    def fail(_point):
        raise ZeroDivisionError("by hand")

    with pytest.raises(ZeroDivisionError, match="by hand"):
        store.evaluated(POINT, fail, {})
    assert not store.evaluated(POINT, arrays().evaluate, {}).is_known


def claim(path, worker):
    """Begin a trial under another process's name."""
    store = TrialStore(path, "n", arrays().space)
    trial = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params=POINT,
        distributions={p.name: optuna.distributions.CategoricalDistribution(p.levels) for p in arrays().space.parameters},
        user_attrs={"worker": worker},
    )
    store._study.add_trial(trial)
    return store


def test_a_trial_of_a_dead_process_is_failed_and_made_again(tmp_path):
    node, pid, _ = this_worker().rsplit(" ", 2)
    claim(tmp_path / "trials.log", f"{node} {pid} 1")  # our number, but of an earlier process
    store = TrialStore(tmp_path / "trials.log", "n", arrays().space)
    assert [trial.state.name for trial in store._study.trials] == ["FAIL"]
    assert not store.evaluated(POINT, arrays().evaluate, {}).is_known


def test_a_process_elsewhere_is_given_time(tmp_path, monkeypatch):
    store = claim(tmp_path / "trials.log", "elsewhere 12 34")
    monkeypatch.setattr(trial_store, "PATIENCE_S", 0.3)
    started = time.monotonic()
    assert not store.evaluated(POINT, arrays().evaluate, {}).is_known
    assert time.monotonic() - started > 0.2
    assert [trial.state.name for trial in store._study.trials] == ["FAIL", "COMPLETE"]


def test_names_of_workers():
    assert is_running(this_worker()) is True
    assert is_running("elsewhere 1 2") is None
    child = subprocess.Popen(
        [sys.executable, "-c", "import silicut.search.worker as w; print(w.this_worker()); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    worker = child.stdout.readline().strip()
    assert is_running(worker) is True
    child.kill()
    deadline = time.monotonic() + 20
    while is_running(worker) and time.monotonic() < deadline:  # a zombie until we wait for it
        time.sleep(0.01)
    assert is_running(worker) is False
    child.communicate()
    assert is_running(worker) is False


def test_other_parameters_under_the_same_name_are_refused(tmp_path):
    path = tmp_path / "trials.log"
    TrialStore(path, "n", arrays().space)
    message = f"{path} must hold trials of 'n' over these parameters and levels, not over others; give another storage"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        TrialStore(path, "n", Space((Parameter("rows", (1, 2)),)))
    TrialStore(path, "another name", Space((Parameter("rows", (1, 2)),)))


def test_a_study_that_others_made_is_refused(tmp_path):
    path = tmp_path / "trials.log"
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    study = optuna.create_study(study_name="n", storage=optuna.storages.JournalStorage(backend))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(ConfigError, match="must hold trials of 'n' over these parameters and levels, not over others"):
        TrialStore(path, "n", arrays().space)


def test_a_process_that_others_took_for_dead_keeps_what_it_found(tmp_path):
    store = TrialStore(tmp_path / "trials.log", "n", arrays().space)

    def slow(point):
        other = TrialStore(tmp_path / "trials.log", "n", arrays().space)
        other._fail(other._trials(is_complete=False)[0].number)
        return arrays().evaluate(point)

    assert store.evaluated(POINT, slow, {}).outcome == arrays().evaluate(POINT)
    assert store.evaluated(POINT, slow, {}).is_known
    assert [trial.state.name for trial in store._study.trials] == ["FAIL"]


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("{folder}", "{folder} cannot be used as a journal of trials"),
        ("{folder}/damaged.log", "{folder}/damaged.log cannot be used as a journal of trials"),
        ("nodatabase://user:secret@host/db", "no trials can be stored at the given nodatabase URL"),
        ("sqlite:////nowhere/at/all.db", "no trials can be stored at the given sqlite URL"),
    ],
)
def test_what_cannot_be_opened_is_named_in_a_sentence(tmp_path, storage, message):
    minimise(arrays(), "random", 2, store=tmp_path / "damaged.log")
    lines = (tmp_path / "damaged.log").read_text().splitlines()
    (tmp_path / "damaged.log").write_text("\n".join([lines[0], lines[1][:20], *lines[2:]]) + "\n")
    with pytest.raises(BadFile, match="^" + re.escape(message.format(folder=tmp_path))) as caught:
        TrialStore(storage.format(folder=tmp_path), "n", arrays().space)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["not a journal\n", "one line without an end", '{"op": 1}\n', "{}"])
def test_another_file_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(BadFile, match=f"^{re.escape(str(path))} is no journal of trials; give another file$"):
        TrialStore(path, "n", arrays().space)
    assert path.read_text() == text


@pytest.mark.parametrize("n_bytes", [0, 1, 7, 30])
def test_a_kill_in_the_very_first_line_is_survived(tmp_path, n_bytes):
    path = tmp_path / "trials.log"
    minimise(arrays(), "random", 1, store=path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    assert minimise(arrays(), "random", 2, store=path).n_known == 0


def test_no_lock_is_left_behind(tmp_path):
    logged = Logged(arrays(), str(tmp_path / "calls.log"), 0.0)
    assert minimise(logged, "random", 3, store=tmp_path / "trials.log").n_evaluations == 3
    assert {path.name for path in tmp_path.iterdir()} == {"calls.log", "trials.log"}


def test_without_optuna_a_store_names_the_next_step(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    message = "optuna is not installed; install it with: pip install 'silicut[search]'"
    with pytest.raises(ToolMissing, match=f"^{re.escape(message)}$"):
        minimise(arrays(), "random", 3, store=tmp_path / "trials.log")
