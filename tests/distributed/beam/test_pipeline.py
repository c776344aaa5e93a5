from __future__ import annotations

import importlib.util

import apache_beam
import pytest

from kresp3d.distributed.beam.pipeline import counted, counter, pipeline, pipeline_options
from kresp3d.system.errors import KrespError, UsageError


def count(value):
    counter("seen").inc(value)
    return value


def test_options_reach_the_pipeline_and_counters_come_back():
    options = pipeline_options("DirectRunner", ["direct_num_workers=1", "job_name=mine"])
    assert options.get_all_options()["job_name"] == "mine"
    with pipeline(options) as running:
        running | apache_beam.Create([1, 2, 3]) | apache_beam.Map(count)
    assert counted(running.result, "seen") == 6
    assert counted(running.result, "unseen") == 0


def test_what_is_wrong_with_them_is_said():
    with pytest.raises(UsageError, match="--beam nope=1: Beam knows no option nope"):
        pipeline_options("DirectRunner", ["nope=1"])
    with pytest.raises(UsageError, match="--beam: argument --direct_num_workers: invalid int value: 'two'"):
        pipeline_options("DirectRunner", ["direct_num_workers=two"])
    with pytest.raises(UsageError, match="--runner: "), pipeline(pipeline_options("NoRunner", [])):
        pass


def test_without_beam_its_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(KrespError, match=r"pip install 'kresp3d\[beam\]'"):
        pipeline_options("DirectRunner", [])


def fail(value):
    raise ZeroDivisionError("by nothing")


def test_the_error_of_a_worker_is_put_into_a_sentence():
    with (
        pytest.raises(KrespError, match=r"the pipeline failed: .*by nothing") as caught,
        pipeline(pipeline_options("DirectRunner", [])) as running,
    ):
        running | apache_beam.Create([1]) | apache_beam.Map(fail)
    assert "\n" not in str(caught.value)
