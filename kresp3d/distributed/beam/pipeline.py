"""Running a pipeline of Apache Beam: on which runner, and what went wrong, in a sentence."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kresp3d.system.errors import KrespError, UsageError, sentence_in
from kresp3d.system.quiet import held_stderr

if TYPE_CHECKING:
    from apache_beam import Pipeline
    from apache_beam.metrics.metric import Metrics
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineResult


#: Groups the counters of pipelines.
COUNTERS = "kresp3d"


def pipeline_options(runner: str, options: Sequence[str]) -> PipelineOptions:
    """The options of a pipeline.

    Args:
        runner: Beam's name of it, such as `DirectRunner`.
        options: `NAME=VALUE` or `NAME`, as the runner knows them.

    Raises:
        KrespError: If Beam is not installed.
        UsageError: If Beam or the runner does not know an option, or a value is wrong.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise KrespError("--runner takes Apache Beam, which is not installed; pip install 'kresp3d[beam]'")
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    # Their processes would tell of every step.
    quiet = "--default_sdk_harness_log_level=WARNING"
    made = PipelineOptions([f"--runner={runner}", quiet, *(f"--{option}" for option in options)])
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            known = made.get_all_options()
    except SystemExit:
        raise UsageError(f"--beam: {said.getvalue().strip().splitlines()[-1].partition('error: ')[2]}") from None
    for option in options:
        name = option.partition("=")[0]
        if name not in known:
            raise UsageError(f"--beam {option}: Beam knows no option {name}")
    FileSystems.set_options(made)
    return made


@contextmanager
def pipeline(options: PipelineOptions) -> Iterator[Pipeline]:
    """A pipeline that runs when the block ends; then its `result` is there.

    Raises:
        KrespError: If it fails; with the sentence of the first error where that is one of ours.
        UsageError: If there is no such runner.
    """
    import apache_beam

    try:
        made = apache_beam.Pipeline(options=options)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"--runner: {' '.join(str(error).split())[:300]}") from error
    try:
        # Processes of the DirectRunner announce themselves.
        with held_stderr(), made:
            yield made
    except Exception as error:  # whatever a worker or the runner raises
        raise KrespError(f"the pipeline failed: {_sentence(str(error))}") from error


def _sentence(text: str) -> str:
    """What a runner says of an error in a worker, which may be the whole traceback, in a line."""
    line = sentence_in(text) or " ".join(text.split())
    return re.sub(r"\s*\[while running .*", "", line)[:500]


def counter(name: str) -> Metrics.DelegatingCounter:
    """A number that the workers of a pipeline count up; see `counted`."""
    from apache_beam.metrics.metric import Metrics

    return Metrics.counter(COUNTERS, name)


def counted(result: PipelineResult, name: str) -> int:
    """What a counter has come to."""
    from apache_beam.metrics.metric import MetricsFilter

    found = result.metrics().query(MetricsFilter().with_namespace(COUNTERS).with_name(name))["counters"]
    return sum(int(each.result) for each in found)
