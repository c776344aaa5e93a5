"""Which settings a run may go on with, and what becomes of its phases."""

from __future__ import annotations

import contextlib
import json

import pytest

from kresp3d.config.schema import override_config, parse_config
from kresp3d.runs.phases import NEUTRAL, PHASE, STEADY, Phase, continuation, phase_changes, read_phases, refused_keys
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError, UsageError

#: Of a run that has begun: nothing is left to be settled.
BASE = parse_config(
    {
        "clip": {"per_video": 1, "frame_stride": 1},
        "model": {"frames": 16},
        "training": {
            **{"epochs": 100, "warmup_epochs": 3, "ema": None, "keep": "best"},
            **{"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
        },
    },
    "the test",
)


def changed(*overrides, config=BASE):
    return override_config(config, overrides, "the test")


def test_each_key_is_one_of_those_there_are_and_in_one_list():
    from kresp3d.config.schema import known_keys

    listed = [*NEUTRAL, *STEADY, *PHASE]
    assert set(listed) <= set(known_keys()) and len(set(listed)) == len(listed)


@pytest.mark.parametrize(
    ("override", "is_phase"),
    [
        ("training.epochs=7", True),
        ("training.learning_rate=0.5", True),
        ("clip.augment.rotation=10", True),
        ("clip.per_video=3", True),
        ("clip.balanced=true", True),
        ("training.class_weights={walk: 2}", True),
        ("training.momentum=0.5", True),
        ("training.early_stop=3", False),
        ("training.keep=last", False),
        ("data.memory=0", False),
        ("evaluation.clips=3", False),
        ("training.tensorboard_every=0", False),
    ],
)
def test_what_may_change_is_not_refused(override, is_phase):
    new = changed(override)
    assert refused_keys(BASE, new) == [] and bool(phase_changes(BASE, new)) == is_phase


@pytest.mark.parametrize(
    ("old", "override"),
    [
        ([], "model.width=8"),
        ([], "clip.frame_stride=2"),
        ([], "seed=1"),
        ([], "training.optimizer=adamw"),
        ([], "training.precision=mixed_bfloat16"),
        ([], "training.ema=0.9"),
        (["training.ema=0.9"], "training.ema=null"),
        # Then SGD keeps no moments.
        ([], "training.momentum=0"),
        (["compress.methods=[prune]"], "training.epochs=200"),
        (["compress.methods=[prune]"], "training.keep=last"),
    ],
)
def test_what_the_network_or_the_optimiser_is_made_of_may_not_change(old, override):
    config = changed(*old)
    [(key, _, _)] = refused_keys(config, changed(override, config=config))
    assert override.startswith(f"{key}=")


def test_some_changes_keep_the_state():
    one = changed("training.ema=0.9", "training.optimizer=adamw")
    other = changed("training.ema=0.99", "training.momentum=0", config=one)
    assert refused_keys(one, other) == []
    compressed = changed("compress.methods=[prune]")
    assert refused_keys(compressed, changed("data.workers=3", config=compressed)) == []


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", changed("training.epochs=4", "training.learning_rate=0.1"))


def go_on(run, epoch, *overrides, step=None):
    """As `fit.train` does it: the run, read anew, and the first epochs of its phases after the first."""
    run = RunFolder(run.path)
    new = run.check_config(override_config(run.config, overrides, "the test"))
    step = 10 * epoch if step is None else step
    how = continuation(run.phases, run.config, new, epoch=epoch, step=step, command="c", where=run.path)
    run.go_on(new, how)
    again = RunFolder(run.path)
    assert again.config == new and again.phases == how.phases
    return again


def test_phases_follow_each_other(run):
    assert go_on(run, 2).phases == []
    run = go_on(run, 4, "training.epochs=6")
    assert run.phases == [Phase(5, 40, {"training.epochs": [4, 6]})]
    assert go_on(run, 5).phases == run.phases
    run = go_on(run, 5, "training.learning_rate=0.01", "training.early_stop=3")
    assert run.phases[1:] == [Phase(6, 50, {"training.learning_rate": [0.1, 0.01]})]
    assert str(run.phases[1]) == "training.learning_rate 0.1 → 0.01"


def test_a_phase_of_no_epoch_is_replaced_or_taken_back(run):
    run = go_on(run, 4, "training.epochs=6", "training.learning_rate=0.5")
    began = run.phases[0].began
    # Again what it was: the interrupted one goes on.
    assert go_on(run, 4).phases[0].began == began
    run = go_on(run, 4, "training.learning_rate=0.01")
    assert run.phases == [Phase(5, 40, {"training.epochs": [4, 6], "training.learning_rate": [0.1, 0.01]})]
    run = go_on(run, 4, "training.learning_rate=0.1", "training.epochs=4")
    assert run.phases == [] and not run.phases_file.exists()


def test_a_mapping_is_taken_back_as_a_whole(run):
    run = go_on(run, 2, "training.class_weights={walk: 2}")
    run = go_on(run, 3, "training.class_weights={jump: 3}")
    assert run.phases[1].changed == {"training.class_weights": [{"walk": 2}, {"jump": 3}]}
    # As if it had never been; `--set` replaces the mapping.
    assert go_on(run, 3, "training.class_weights={walk: 2}").phases == run.phases[:1]


def test_after_a_damaged_checkpoint_a_phase_begins_earlier(run):
    run = go_on(run, 3, "training.learning_rate=0.5")
    run = go_on(run, 3 - 1)
    assert run.phases == [Phase(3, 20, {"training.learning_rate": [0.1, 0.5]})]


def test_before_the_first_epoch_there_is_no_phase(run):
    assert go_on(run, 0, "training.learning_rate=0.5").phases == []


@pytest.mark.parametrize("override", ["training.epochs=3", "training.learning_rate=0.5", "clip.augment.flip=false"])
def test_a_phase_needs_an_epoch(run, override):
    with pytest.raises(UsageError, match=rf"has trained 4 epochs.*{override.split('=')[0]}.*training\.epochs=8"):
        go_on(run, 4, override)
    assert RunFolder(run.path).config == run.config and not run.phases_file.exists()


@pytest.mark.parametrize("epoch", [4, 5])
def test_a_kill_between_two_files_leaves_the_phases_as_they_were(run, epoch, monkeypatch):
    """Whichever write is the last one, what is read then is the state before or the one after."""
    from kresp3d.runs import phases as module
    from kresp3d.runs import run_folder

    class KilledError(Exception):
        pass

    run = go_on(run, 4, "training.epochs=8")
    # One that was begun and is replaced, or taken back, or followed by another.
    if epoch == 5:
        run = go_on(run, 5, "training.learning_rate=0.7")
    for overrides in (["training.learning_rate=0.2"], ["training.learning_rate=0.1"], ["training.epochs=9"]):
        files = {file: file.read_text() for file in (run.config_file, run.phases_file)}
        for allowed in range(4):
            for file, text in files.items():
                file.write_text(text)
            left = allowed

            def write(path, text):
                nonlocal left
                left -= 1
                if left < 0:
                    raise KilledError
                path.write_text(text)

            with monkeypatch.context() as patched:
                patched.setattr(module, "write_text", write)
                patched.setattr(run_folder, "write_text", write)
                with contextlib.suppress(KilledError):
                    go_on(run, epoch, *overrides)
            found = RunFolder(run.path)
            # The rate that the phases lead to is that of the configuration.
            rate, epochs = 0.1, 4
            for phase in found.phases:
                rate = phase.changed.get("training.learning_rate", [rate, rate])[1]
                epochs = phase.changed.get("training.epochs", [epochs, epochs])[1]
            assert (rate, epochs) == (found.config.training.learning_rate, found.config.training.epochs), overrides
        for file, text in files.items():
            file.write_text(text)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'[{"first_epoch": 3}]', b"\xff"])
def test_damaged_phases_get_a_sentence(run, content):
    run.phases_file.write_bytes(content)
    with pytest.raises(KrespError, match=r"phases\.json is damaged"):
        _ = run.phases


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "phases.json"
    values = [{"first_epoch": 3, "first_step": 9, "changed": {"training.ema": [0.5, 0.9]}, "command": "c"}]
    file.write_text(json.dumps(values))
    assert read_phases(file, changed("training.ema=0.9"))[0].command == "c"
    # Written, but the configuration is still the one before.
    assert read_phases(file, changed("training.ema=0.5")) == []
