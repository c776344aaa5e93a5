from __future__ import annotations

import pytest

from kresp3d.config.schema import load_config
from kresp3d.system.errors import KrespError, UsageError


def test_only_what_folds_leave_is_its_own(folder, base, make_plan, finish):
    finish(folder, make_plan(), 1)
    folder.training(1).log.write_text("")
    make_plan().write(folder.plan_file)
    folder.check(base, resume=True)
    (folder.path / "fold-ups.txt").write_text("mine")
    with pytest.raises(KrespError, match=r"no part of a cross-validation \(fold-ups.txt\)"):
        folder.begin(base, overwrite=True)
    assert folder.training(1).path.exists()


def test_what_was_settled_stays_so(folder, base):
    auto = base.model_copy(update={"auto": base.auto | {"training.epochs"}})
    folder.begin(auto, overwrite=True)
    settled = base.model_copy(update={"auto": frozenset()})
    folder.settle(settled, ["training.epochs is 2: as the test wants"])
    assert folder.config_file.read_text().startswith("# training.epochs is 2: as the test wants\n")
    folder.begin(auto, resume=True)
    assert load_config(folder.config_file) == settled
    other = base.model_copy(update={"auto": frozenset(), "training": base.training.model_copy(update={"epochs": 7})})
    with pytest.raises(UsageError, match=r"training.epochs=2 \(now 7\)"):
        folder.check(other, resume=True)


def test_it_begins_anew_only_where_that_is_said(folder, base, make_plan, finish):
    finish(folder, make_plan(), 1)
    make_plan().write(folder.plan_file)
    with pytest.raises(KrespError, match="holds a cross-validation already; go on with it by --resume"):
        folder.check(base)
    other = base.model_copy(update={"seed": 9})
    with pytest.raises(UsageError, match=r"begun with seed=0 \(now 9\)"):
        folder.check(other, resume=True)
    folder.begin(other, overwrite=True)
    assert sorted(path.name for path in folder.path.iterdir()) == ["crossval.yaml"]
