"""How a training goes on that is resumed: its phases, and the state that several hosts begin with."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kresp3d.distributed.cluster import Cluster
from kresp3d.distributed.collectives import text_from_chief, variables_from_chief
from kresp3d.runs.phases import Continuation, Phase, continuation, phases_from_json, phases_to_json
from kresp3d.runs.run_folder import RunFolder, command_line
from kresp3d.training.checkpoint import Checkpoints, Progress


def continued(before: RunFolder, run: RunFolder, restored: Progress | None, step: int) -> Continuation:
    """How a training goes on.

    Args:
        before: The run with the configuration that it had.
        run: The run with the one that it is to have.
        restored: How far it is; changed where the network of the best epoch is no longer there.
        step: Steps that the optimiser has done.

    Raises:
        UsageError: If a new phase would have no epoch.
    """
    if restored is None:
        return Continuation([], run.config, [])
    noted = run.outcome
    # The best epoch's network is no longer there where `training.keep` was `last`.
    if (
        run.config.training.keep == "best"
        and noted is not None
        and restored.best_epoch <= noted["epochs"]
        and restored.best_epoch != noted["kept_epoch"]
    ):
        restored.count_best_from_here()
    return continuation(
        before.phases,
        before.config,
        run.config,
        epoch=restored.epoch,
        step=step,
        command=command_line(),
        where=run.path,
    )


def steps_at(epoch: int, phase: Phase | None, steps: int) -> int:
    """The steps of the whole training up to the end of an epoch.

    Args:
        epoch: An epoch of the present phase, or the one before it.
        phase: The present one; `None` for the first.
        steps: In each of its epochs.
    """
    return epoch * steps if phase is None else phase.first_step + (epoch - phase.first_epoch + 1) * steps


def restored_by_chief(
    strategy: tf.distribute.Strategy,
    cluster: Cluster,
    checkpoints: Checkpoints,
    restored: Progress | None,
    phases: Sequence[Phase],
) -> tuple[Progress | None, list[Phase]]:
    """Bring every worker to where the chief is, which alone has checkpoints."""
    text = text_from_chief(strategy, cluster, restored.to_json() if restored else "")
    if not text:
        return None, []
    phases = phases_from_json(text_from_chief(strategy, cluster, phases_to_json(phases)))
    variables_from_chief(strategy, cluster, checkpoints.variables)
    return Progress.from_json(text), phases
