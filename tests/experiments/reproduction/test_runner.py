"""The order and the fate of trainings; scripts stand for the trainings themselves."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from kresp3d.experiments.jobs import share_cores
from kresp3d.experiments.reproduction.folder import ReproductionFolder
from kresp3d.experiments.reproduction.runner import Runner
from kresp3d.training import process as processes

#: What a training would leave. It fails while a file of the row's name is beside the reproduction, and waits for `go`.
TRAIN = """#!/bin/sh
config=$5; out=$7
row=$(basename $(dirname $out)); root=$(dirname $(dirname $(dirname $out)))
echo "$row $(basename $out)" >> $root/begun
mkdir -p $out/checkpoints; cp $config $out/config.yaml
grep Cpus_allowed_list /proc/self/status
while [ -e $root/wait ]; do sleep 0.05; done
if [ -e $root/$row ]; then echo "Error: the loss became nan"; exit 1; fi
printf 'epoch\\n1\\n2\\n3\\n' > $out/history.csv
echo '{"seconds": 4.0}' > $out/training.json
echo '{"top_k": 5, "classes": 9, "clip_top1": 0.1, "clip_top5": 0.2, "video_top1": 0.3, "video_top5": 0.4}' \\
  > $out/metrics.json
"""


@pytest.fixture
def make_runner(tmp_path, monkeypatch, base):
    """`make_runner(tables, seeds, jobs)` makes a runner whose trainings are scripts."""
    script = tmp_path / "python"
    script.write_text(TRAIN)
    script.chmod(0o755)
    monkeypatch.setattr(processes, "sys", SimpleNamespace(executable=str(script)))
    monkeypatch.setattr(processes, "POLL", 0.02)
    monkeypatch.setattr(processes, "GRACE", 2.0)

    def make(tables=(3,), seeds=1, jobs=1, **callbacks):
        folder = ReproductionFolder(tmp_path / "paper")
        folder.path.mkdir(exist_ok=True)
        return Runner(folder, base, tables, seeds, jobs, **callbacks)

    return make


def begun(tmp_path):
    return (tmp_path / "begun").read_text().splitlines()


def test_all_rows_are_trained_with_a_seed_before_the_next(make_runner, tmp_path):
    runner = make_runner(seeds=2)
    runner.run()
    rows = ("residual", "residual_s2", "residual_s4")
    assert begun(tmp_path) == [f"{row} seed-{seed}" for seed in (0, 1) for row in rows]
    results = runner.results()
    assert results.is_complete and results.scores()["residual_s4"] == {0: 0.3, 1: 0.3}
    config = runner.folder.training("residual_s4", 1).run.config
    assert (config.seed, config.model.step, config.model.modality) == (1, 4, "residual")


def test_a_row_that_tables_share_is_trained_once(make_runner, tmp_path):
    make_runner(tables=(2, 3, 4)).run()
    assert len(begun(tmp_path)) == len(set(begun(tmp_path))) == 9


def test_checkpoints_of_finished_trainings_are_removed(make_runner):
    runner = make_runner()
    runner.run()
    for training in (runner.folder.training(row, 0) for row in ("residual", "residual_s4")):
        assert not training.run.checkpoints.exists() and training.run.history_file.exists()
    # Also where a kill came between the measuring and the removal.
    training.run.checkpoints.mkdir()
    make_runner().run()
    assert not training.run.checkpoints.exists()


def test_what_is_finished_is_not_trained_again_and_more_seeds_and_tables_may_follow(make_runner, tmp_path):
    make_runner().run()
    make_runner(seeds=2).run()
    assert begun(tmp_path)[3:] == ["residual seed-1", "residual_s2 seed-1", "residual_s4 seed-1"]
    make_runner(tables=(2,)).run()
    assert begun(tmp_path)[6:] == ["rgb seed-0", "both seed-0", "full3d seed-0"]
    # What was there before is shown with what was asked for, of either kind.
    results = make_runner(tables=(2,)).results()
    assert (results.tables, results.seeds, len(results.with_status("done"))) == ((2, 3), (0, 1), 9)


def test_a_training_that_fails_does_not_end_the_others_and_is_tried_again(make_runner, tmp_path):
    (tmp_path / "residual_s2").touch()
    runner = make_runner(seeds=2)
    runner.run()
    failed = runner.results().with_status("failed")
    assert [(result.row, result.seed, result.reason) for result in failed] == [
        ("residual_s2", 0, "the loss became nan"),
        ("residual_s2", 1, "the loss became nan"),
    ]
    assert len(runner.results().with_status("done")) == 4
    (tmp_path / "residual_s2").unlink()
    again = make_runner(seeds=2)
    again.run()
    assert begun(tmp_path)[6:] == ["residual_s2 seed-0", "residual_s2 seed-1"] and again.results().is_complete


def test_several_run_at_a_time_on_cores_of_their_own(make_runner, tmp_path):
    (tmp_path / "wait").touch()
    runner = make_runner(jobs=2)
    seen = []

    def look():
        seen.append([result.row for result in runner.results().with_status("running")])

    threading.Thread(target=lambda: (time.sleep(0.5), (tmp_path / "wait").unlink())).start()
    runner.run(on_change=look)
    assert max(seen, key=len) == ["residual", "residual_s2"] and runner.results().is_complete
    logs = [runner.folder.training(row, 0).log.read_text() for row in ("residual", "residual_s2")]
    cores = share_cores(sorted(processes.os.sched_getaffinity(0)), 2)
    if cores[0] != cores[1]:
        assert logs[0] != logs[1]


def test_an_interruption_ends_the_trainings(make_runner, tmp_path):
    (tmp_path / "wait").touch()
    runner = make_runner(jobs=2)

    def interrupt():
        if len(runner.results().with_status("running")) == 2:
            started.extend(runner.trainings.processes)
            raise KeyboardInterrupt

    started = []
    with pytest.raises(KeyboardInterrupt):
        runner.run(on_change=interrupt)
    assert len(started) == 2 and all(process.returncode is not None for process in started)
    assert runner.results().with_status("running", "done", "failed") == []
