"""What trainings of all experiments share; `tests/experiments/reproduction/test_runner.py` runs some."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.experiments.jobs import Jobs, check_gpus, continue_command, share_cores, status_of
from kresp3d.system.errors import UsageError
from kresp3d.training.process import Training


def test_the_run_folder_says_how_a_training_stands(tmp_path):
    training = Training(tmp_path / "fold-1")
    assert status_of(training, 2) == "waiting"
    assert status_of(training, 2, is_running=True) == "running"
    training.path.mkdir()
    training.run.config_file.write_text("training: {epochs: 2}")
    training.run.history_file.write_text("epoch\n1\n")
    assert status_of(training, 2) == "unfinished"
    (training.path / "metrics.json").write_text("{}")
    assert status_of(training, 2, has_failed=True) == "failed"
    training.run.history_file.write_text("epoch\n1\n2\n")
    assert status_of(training, 2, has_failed=True) == "done"


@given(st.lists(st.integers(0, 500), min_size=1, max_size=64, unique=True), st.integers(1, 70))
def test_cores_are_shared_evenly(cores, jobs):
    shares = share_cores(sorted(cores), jobs)
    assert len(shares) == jobs and set().union(*shares) <= set(cores)
    sizes = [len(share) for share in shares]
    assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1
    if jobs <= len(cores):
        assert sum(sizes) == len(set().union(*shares)) == len(cores)


@pytest.mark.parametrize(("jobs", "done", "expected"), [(9, 0, 3), (2, 0, 2), (9, 2, 1), (1, 0, 1)])
def test_cores_are_shared_among_the_trainings_that_are_left(jobs, done, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(12)))
    given = []

    class Process:
        returncode = 1

        def poll(self):
            return 1

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    def start(arguments, log, cores):
        given.append(cores)
        return Process()

    monkeypatch.setattr("kresp3d.experiments.jobs.processes.start", start)
    monkeypatch.setattr("kresp3d.experiments.jobs.processes.POLL", 0)
    for number in range(done):
        training = Training(tmp_path / str(number))
        training.path.mkdir()
        (training.path / "metrics.json").write_text("{}")
        training.run.history_file.write_text("epoch\n1\n")
    work = Jobs(training=lambda key: Training(tmp_path / str(key)), begin=lambda *_: None, epochs=1, jobs=jobs)
    work.run(range(3))
    assert len(given) == 3 - done and len(work.failures) == 3 - done
    # A single one has all cores, as its process does.
    assert {None if cores is None else len(cores) for cores in given} == {None if expected == 1 else 12 // expected}


def test_the_command_that_goes_on():
    assert continue_command("kresp3d reproduce -c a.yaml --overwrite") == "kresp3d reproduce -c a.yaml --resume"
    assert continue_command("kresp3d reproduce --resume -c a.yaml") == "kresp3d reproduce -c a.yaml --resume"


def test_trainings_do_not_fight_for_a_gpu(monkeypatch):
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    check_gpus(1, ["NVIDIA H100"])
    check_gpus(2, [])
    with pytest.raises(UsageError, match=r"memory of the GPU \(NVIDIA H100\); use --jobs 1"):
        check_gpus(2, ["NVIDIA H100"])
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    check_gpus(2, ["NVIDIA H100"])
