import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.clips.sampling import clip_indices, uniform_starts
from kresp3d.explain.attention import AttentionGates, stage_weights
from kresp3d.explain.explanation import (
    Explainer,
    Watched,
    enough_clips,
    find_label,
    frame_heat,
    open_run,
    pooled,
)
from kresp3d.explain.small_frames import small_video
from kresp3d.inference.keras_engine import KerasEngine, load_network
from kresp3d.inference.predictor import video_probabilities
from kresp3d.records.video_clips import video_clips
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.video.decode import iter_frames


def quiet(done, total):
    pass


def watched(frames, starts, *, clip=4, step=1, stride=1, scores=None):
    form = ClipFormat(frames=clip, step=step, size=16, frame_stride=stride, fps=10, short_side=24)
    starts = np.array(starts, np.int64)
    scores = np.tile(np.float32([0.2, 0.3, 0.5]), (len(starts), 1)) if scores is None else scores
    return Watched(frames, form, ("a", "b", "c"), starts, scores, ({},) * len(starts))


def test_scores_are_those_of_predict_and_masks_those_of_the_clips(make_run, noise_video):
    run, path = make_run(stride=2), noise_video(23)
    explainer, calls = Explainer(run), []
    form = explainer.engine.info.clip
    with small_video(path, form) as video:
        seen = explainer.watch(video, 5, lambda *done: calls.append(done))
    assert calls == [(3, 5), (5, 5)]
    np.testing.assert_allclose(seen.mean, video_probabilities(KerasEngine(run), path, clips=5), atol=1e-6)
    clips = video_clips(iter_frames(path, fps=10, short_side=24), form, clips=5)
    for clip, weights in zip(clips, seen.weights, strict=True):
        expected = stage_weights(AttentionGates(load_network(run))(clip[None]))
        assert list(weights) == ["res2", "res3"]
        for stage, parts in expected.items():
            for part, weight in parts.items():
                assert weights[stage][part].mean == pytest.approx(weight.mean, abs=1e-5)
                assert weights[stage][part].spread == pytest.approx(weight.spread, abs=1e-5)


def test_weights_of_several_clips_are_those_of_all_their_channels(make_run, noise_video):
    run = make_run()
    explainer = Explainer(run)
    with small_video(noise_video(23), explainer.engine.info.clip) as video:
        seen = explainer.watch(video, 5, quiet)
        clips = video[clip_indices(seen.starts[:, None], 5, 1, 23)]
    for stage, parts in stage_weights(AttentionGates(load_network(run))(clips)).items():
        for part, weight in parts.items():
            found = pooled(seen.weights)[stage][part]
            assert found.mean == pytest.approx(weight.mean, abs=1e-6)
            assert found.spread == pytest.approx(weight.spread, abs=1e-6)
    assert pooled([{}, {}]) == {} and pooled([]) == {}


@pytest.mark.parametrize("stride", [1, 2])
def test_heat_on_a_frame_is_the_mean_of_the_clips_that_hold_it(make_run, noise_video, stride):
    explainer = Explainer(make_run(stride=stride))
    for frames, clips in [(30, None), (30, 2), (6, None), (5, None), (3, None), (1, None)]:
        with small_video(noise_video(frames), explainer.engine.info.clip) as video:
            check_heat(explainer, video, clips)


def check_heat(explainer, video, clips):
    """Against all maps at once."""
    form, frames = explainer.engine.info.clip, len(video)
    stride = form.frame_stride
    seen = explainer.watch(video, clips, quiet)
    shown = list(range(frames))
    found = list(explainer.heat(video, seen, 1, shown))
    some = list(explainer.heat(video, seen, 1, shown[1::3]))
    cut = np.asarray(video[clip_indices(seen.starts[:, None], form.length, stride, frames)])
    maps = explainer.cam(cut, np.full(len(cut), 1))
    for frame, heat in zip(shown, found, strict=True):
        inside = []
        for start, map_ in zip(seen.starts, maps, strict=True):
            place = (frame - start) / stride
            if 0 <= place <= 3:
                low, high = int(np.floor(place)), int(np.ceil(place))
                inside.append(map_[low] * (1 - place + low) + map_[high] * (place - low))
        held = [map_[3] for start, map_ in zip(seen.starts, maps, strict=True) if 0 <= frame - start < form.span]
        if inside:
            np.testing.assert_allclose(heat, np.mean(inside, axis=0), atol=1e-4)
        elif held:
            np.testing.assert_allclose(heat, held[-1], atol=1e-4)
        else:
            assert heat is None
    gaps = [frame for frame, heat in zip(shown, found, strict=True) if heat is None]
    assert bool(gaps) == (clips is not None)
    for heat, expected in zip(some, found[1::3], strict=True):
        assert (heat is None) == (expected is None)
        if heat is not None:
            np.testing.assert_allclose(heat, expected, atol=1e-5)


def test_clips_that_hold_no_frame_that_is_shown_are_not_computed(make_run, noise_video):
    explainer = Explainer(make_run())
    with small_video(noise_video(60), explainer.engine.info.clip) as video:
        seen = explainer.watch(video, None, quiet)
        computed, cam = [], explainer.cam
        explainer.cam = lambda frames, classes: computed.append(len(frames)) or cam(frames, classes)
        list(explainer.heat(video, seen, 0, [0, 59]))
    assert sum(computed) < 6 < len(seen.starts)


@given(frames=st.integers(1, 400), span=st.integers(2, 60))
def test_by_default_clips_cover_the_video_and_begin_a_quarter_of_a_clip_apart(frames, span):
    starts = uniform_starts(frames, span, enough_clips(frames, span))
    assert starts[0] == (0 if len(starts) > 1 else max(frames - span, 0) // 2)
    # Rounded to whole frames.
    assert not len(starts) > 1 or np.diff(starts).max() <= max(1, round(span / 4)) + 1
    assert all(((starts <= t) & (t < starts + span)).any() for t in range(frames))


def test_heat_between_frames_of_a_clip_is_interpolated_and_the_last_map_stays():
    maps = np.arange(3, dtype=np.float32)[:, None, None] * np.ones((2, 2), np.float32)
    first, second = (10, maps), (12, 10 * maps)
    assert frame_heat([], 5, 2) is None
    assert frame_heat([first], 11, 2)[0, 0] == pytest.approx(0.5)
    assert frame_heat([first], 14, 2)[0, 0] == 2
    assert frame_heat([first], 16, 2)[0, 0] == 2
    assert frame_heat([first, second], 13, 2)[0, 0] == pytest.approx((1.5 + 5) / 2)
    assert frame_heat([first, second], 15, 2)[0, 0] == pytest.approx(15)


@given(
    frames=st.integers(1, 40), clip=st.integers(1, 8), step=st.integers(1, 3), stride=st.integers(1, 3), data=st.data()
)
def test_the_residual_shown_is_one_that_the_network_takes(frames, clip, step, stride, data):
    seen = watched(frames, [0], clip=clip, step=step, stride=stride)
    frame = data.draw(st.integers(0, frames - 1))
    first, second = seen.later(frame)
    assert 0 <= first < frames and 0 <= second < frames
    pairs = set()
    for start in range(max(frames - seen.form.span, 0) + 1):
        indices = clip_indices(start, seen.form.length, stride, frames)
        pairs |= set(zip(indices[:clip].tolist(), indices[step:].tolist(), strict=True))
    if frames >= seen.form.span:
        assert first == min(frame, frames - 1 - step * stride)
        assert second == first + step * stride
        # A video hardly longer than a clip has fewer places for it than the stride: some frames are then in no clip.
        places = frames - seen.form.span + 1
        assert (first, second) in pairs or (places < stride and first not in dict(pairs))
    else:
        assert second == (first + step * stride) % frames and first == frame


def test_times_are_the_middles_of_the_clips_within_the_video():
    np.testing.assert_allclose(watched(21, [0, 8, 16]).times, [0.2, 1.0, 1.8])
    np.testing.assert_allclose(watched(3, [0]).times, [0.1])
    seen = watched(21, [0, 8, 16])
    assert seen.seconds == 2.0
    assert [seen.nearest(frame) for frame in (0, 5, 7, 13, 15, 20)] == [0, 0, 1, 1, 2, 2]


def test_without_attention_there_are_no_weights(make_run, noise_video):
    explainer = Explainer(make_run(variant="full3d"))
    with small_video(noise_video(12), explainer.engine.info.clip) as video:
        assert explainer.watch(video, 2, quiet).weights == ({}, {})


def test_only_a_run_folder_can_be_explained(make_run, tmp_path):
    (tmp_path / "net.tflite").write_bytes(b"TFL3")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    for path in (tmp_path / "net.tflite", tmp_path / "saved"):
        with pytest.raises(KrespError, match=r"is no run folder; expected one made by `kresp3d train`.*exported"):
            open_run(path)
    with pytest.raises(KrespError, match="is no run folder"):
        open_run(tmp_path / "nothing")
    assert open_run(make_run().path).config.name == "small"


def test_a_class_is_found_by_name_or_the_nearest_is_offered():
    assert find_label(("bend", "walk"), "walk") == 1
    with pytest.raises(UsageError, match="knows no class 'wlak'; did you mean 'walk'"):
        find_label(("bend", "walk"), "wlak")
    with pytest.raises(UsageError, match="expected one of: bend, walk"):
        find_label(("bend", "walk"), "zzz")
