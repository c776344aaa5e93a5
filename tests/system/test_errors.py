from __future__ import annotations

import pickle

import pytest

from kresp3d.system.errors import KrespError, UsageError, VideoError, sentence_in


@pytest.mark.parametrize(("error", "code"), [(KrespError("x"), 1), (UsageError("x"), 2), (VideoError("x", "y"), 1)])
def test_exit_code_tells_a_failure_from_bad_usage(error: KrespError, code: int) -> None:
    assert error.exit_code == code


def test_video_error_names_the_video_and_the_reason() -> None:
    error = VideoError("walk/a.mp4", "no video stream")
    assert str(error) == "walk/a.mp4: no video stream"
    assert (error.path, error.reason) == ("walk/a.mp4", "no video stream")


def test_video_error_comes_whole_out_of_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(VideoError("walk/a.mp4", "no video stream")))
    assert isinstance(error, VideoError)
    assert (str(error), error.path, error.reason) == ("walk/a.mp4: no video stream", "walk/a.mp4", "no video stream")


def test_a_sentence_is_found_in_what_another_process_says():
    text = "Traceback:\n  File x\nkresp3d.errors.KrespError: the disk is full: free some\n\nmore"
    assert sentence_in(text) == "the disk is full: free some"
    assert sentence_in("UsageError: a key") == "a key"
    assert sentence_in("ValueError: of KrespError: x") is None
