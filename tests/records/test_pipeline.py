"""The input pipeline, over tiny records of known pictures."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kresp3d.clips.clip_format import ClipFormat
from kresp3d.clips.sampling import clip_indices, steps_per_epoch
from kresp3d.config.schema import Config, parse_config
from kresp3d.records import pipeline, video_table
from kresp3d.records.format import ShardWriter, parse_record, read_record, write_records
from kresp3d.records.index import Records
from kresp3d.records.pipeline import Share, evaluation_dataset, training_dataset
from kresp3d.records.video_clips import video_clips
from kresp3d.system.errors import KrespError

CLASSES = ("jump", "run", "walk")
FRAMES = (20, 9, 3, 14, 9, 30)
SIZES = ((24, 32), (40, 30))


def make_config(
    *,
    frames: int = 4,
    size: int = 16,
    stride: int = 1,
    batch: int = 3,
    per_video: int = 1,
    seed: int = 0,
    memory: float = 0.0,
    balanced: bool = False,
    **augment,
) -> Config:
    paper = {"scales": [1.0, 0.875, 0.75, 0.66], "positions": "corners", "translation": 0, "zoom": 0}
    return parse_config(
        {
            "seed": seed,
            "data": {"short_side": 24, "memory": memory},
            "clip": {
                "frame_stride": stride,
                "per_video": per_video,
                "balanced": balanced,
                "augment": {**paper, **augment},
            },
            "model": {"frames": frames, "size": size},
            "training": {"batch_size": batch},
            "evaluation": {"batch_size": 4},
        },
        "the test",
    )


def video(name: str, label: str) -> SimpleNamespace:
    return SimpleNamespace(name=name, label=label, group=None, split="train")


def numbered(number: int, count: int) -> np.ndarray:
    """Plain frames whose red tells the video and whose green tells the frame."""
    height, width = SIZES[number % 2]
    frames = np.full((count, height, width, 3), 128, np.uint8)
    frames[..., 0] = 30 * number + 20
    frames[..., 1] = (6 * np.arange(count) + 20)[:, None, None]
    return frames


def numbers(clip: np.ndarray) -> tuple[int, list[int]]:
    """The video and the frames that a clip of `numbered` frames shows; all pixels of a frame agree."""
    colours = clip.reshape(len(clip), -1, 3).astype(int)
    assert np.ptp(colours, axis=1).max() <= 2
    videos = np.rint((colours[:, 0, 0] - 20) / 30).astype(int)
    assert len(set(videos.tolist())) == 1
    return int(videos[0]), np.rint((colours[:, 0, 1] - 20) / 6).astype(int).tolist()


def textured(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Frames that differ, smooth enough to survive JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 5, 6, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((width, height), Image.Resampling.BICUBIC)) for c in coarse])


@pytest.fixture(scope="module")
def numbered_records(tmp_path_factory) -> Records:
    videos = [(video(f"v{i}", CLASSES[i % 3]), numbered(i, count)) for i, count in enumerate(FRAMES)]
    return write_records(tmp_path_factory.mktemp("numbered"), videos, jpeg_quality=100)


def train(records: Records, config: Config, first_epoch: int = 0) -> tf.data.Dataset:
    return training_dataset(records.videos, records.folder, records.classes, config, first_epoch=first_epoch)


def evaluate(records: Records, config: Config, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """All clips and labels of an evaluation dataset."""
    dataset = evaluation_dataset(records.videos, records.folder, records.classes, config, clips=clips)
    batches = [(inputs["frames"], labels) for inputs, labels in dataset.as_numpy_iterator()]
    return np.concatenate([frames for frames, _ in batches]), np.concatenate([labels for _, labels in batches])


def read(dataset: tf.data.Dataset, batches: int) -> list[tuple[np.ndarray, np.ndarray]]:
    taken = itertools.islice(dataset.as_numpy_iterator(), batches)
    return [(inputs["frames"], labels) for inputs, labels in taken]


def stored_pictures(records: Records, number: int = 0) -> list[np.ndarray]:
    """The frames of a record, decoded whole and by another decoder: uint8 `[H, W, 3]`."""
    record = records.videos[number]
    entry = read_record(tf.constant(str(records.folder / record.shard)), tf.constant(record.offset, tf.int64))
    return [np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in parse_record(entry)["frames"].numpy()]


def resized(square: np.ndarray, size: int) -> np.ndarray:
    """What resizing should give: in shrinking, each pixel is the mean of the area under it, by the definition."""
    side = len(square)
    if side <= size:
        return np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BILINEAR), float)
    edges = np.arange(size + 1) * side / size
    share = np.minimum(edges[1:, None], np.arange(side) + 1) - np.maximum(edges[:-1, None], np.arange(side))
    weights = np.maximum(share, 0) * size / side
    return np.einsum("ij,jkc,lk->ilc", weights, square.astype(float), weights)


def test_each_epoch_has_every_video_as_often_as_asked_and_with_its_label(numbered_records):
    config = make_config(batch=4, per_video=2)
    assert steps_per_epoch(len(FRAMES), config) == 3
    batches = read(train(numbered_records, config), 9)
    orders = set()
    for epoch in (batches[:3], batches[3:6], batches[6:]):
        clips = np.concatenate([frames for frames, _ in epoch])
        labels = np.concatenate([labels for _, labels in epoch])
        order = [numbers(clip)[0] for clip in clips]
        assert Counter(order) == dict.fromkeys(range(len(FRAMES)), 2)
        assert [numbered_records.classes[label] for label in labels] == [CLASSES[number % 3] for number in order]
        orders.add(tuple(order))
    assert len(orders) == 3


@pytest.mark.parametrize("chosen", [(0, 3, 1, 2), (0, 3, 1), (4, 1, 5, 0, 3)])
def test_balanced_epochs_have_as_many_clips_of_each_class_and_go_through_all_videos(numbered_records, chosen):
    records = [numbered_records.videos[number] for number in chosen]
    config = make_config(batch=2, per_video=2, balanced=True)
    steps = steps_per_epoch(len(records), config)
    dataset = training_dataset(records, numbered_records.folder, CLASSES, config)
    seen = Counter()
    batches = read(dataset, 6 * steps)
    for epoch in range(6):
        clips = [clip for frames, _ in batches[epoch * steps : (epoch + 1) * steps] for clip in frames]
        found = Counter(numbers(clip)[0] for clip in clips)
        of_class = Counter()
        for number, times in found.items():
            of_class[number % 3] += times
        assert max(of_class.values()) - min(of_class.values()) <= 1 and len(of_class) == len({n % 3 for n in chosen})
        seen += found
    for label in {number % 3 for number in chosen}:
        of_videos = [seen[number] for number in chosen if number % 3 == label]
        assert max(of_videos) - min(of_videos) <= 6


def test_what_does_not_fill_a_batch_is_left_out_and_changes_with_the_epoch(numbered_records):
    config = make_config(batch=4)
    assert steps_per_epoch(len(FRAMES), config) == 1
    epochs = [frozenset(numbers(clip)[0] for clip in frames) for frames, _ in read(train(numbered_records, config), 12)]
    assert {len(epoch) for epoch in epochs} == {4}
    assert frozenset.union(*epochs) == set(range(len(FRAMES)))


def test_fewer_videos_than_a_batch_are_repeated(numbered_records):
    config = make_config(batch=15)
    assert steps_per_epoch(len(FRAMES), config) == 1
    ((frames, labels),) = read(train(numbered_records, config), 1)
    assert labels.shape == (15,)
    assert set(Counter(numbers(clip)[0] for clip in frames).values()) == {2, 3}


def test_a_resumed_run_sees_what_the_uninterrupted_one_would(numbered_records):
    config = make_config()
    steps = steps_per_epoch(len(FRAMES), config)
    whole = read(train(numbered_records, config), 4 * steps)
    tail = read(train(numbered_records, config, first_epoch=2), 2 * steps)
    for (frames, labels), (frames_tail, labels_tail) in zip(whole[2 * steps :], tail, strict=True):
        np.testing.assert_array_equal(frames, frames_tail)
        np.testing.assert_array_equal(labels, labels_tail)


@pytest.mark.parametrize(("workers", "replicas"), [(2, 1), (1, 3), (2, 3)])
def test_the_shares_of_all_workers_are_the_batches_of_one(numbered_records, workers, replicas):
    config = make_config(batch=6)
    # Both epochs, and the second alone, as a resumed training takes it.
    for first in (0, 1):
        whole = read(train(numbered_records, config, first), 2)
        for worker in range(workers):
            share = Share(worker, workers, replicas)
            dataset = training_dataset(
                numbered_records.videos, numbered_records.folder, CLASSES, config, first_epoch=first, share=share
            )
            own = read(dataset, 2 * replicas)
            for number, (clips, labels) in enumerate(own):
                batch, replica = divmod(number, replicas)
                place = slice(
                    (worker * replicas + replica) * len(clips), (worker * replicas + replica + 1) * len(clips)
                )
                np.testing.assert_array_equal(clips, whole[batch][0][place])
                np.testing.assert_array_equal(labels, whole[batch][1][place])


def test_another_seed_gives_another_order_and_other_clips(numbered_records):
    first, second = (read(train(numbered_records, make_config(seed=seed)), 2) for seed in (0, 1))
    assert [numbers(clip) for frames, _ in first for clip in frames] != [
        numbers(clip) for frames, _ in second for clip in frames
    ]


@pytest.mark.parametrize("n", [1, 2, 7, 100, 1000])
def test_the_order_of_an_epoch_is_a_permutation_and_follows_no_other(n):
    positions = tf.range(n, dtype=tf.int64)
    order_of = tf.function(lambda key: tf.map_fn(lambda position: pipeline._shuffled(position, n, key), positions))
    keys = tf.constant([(0, 0), (0, 1), (0, 256), (1, 0)], tf.int64)
    orders = [order_of(key).numpy() for key in keys]
    assert all(sorted(order) == list(range(n)) for order in orders)
    if n >= 100:
        correlation = np.corrcoef([positions.numpy(), *orders])
        assert np.abs(correlation - np.eye(len(correlation))).max() < 4 / n**0.5


def test_training_clips_start_anywhere_in_the_video_and_never_loop_a_long_one(numbered_records):
    config = make_config(frames=4, stride=2, batch=150, per_video=25)  # 5 frames over 9
    seen: dict[int, set[int]] = {}
    for frames, _ in read(train(numbered_records, config), 6):
        for clip in frames:
            number, times = numbers(clip)
            assert times == clip_indices(times[0], 5, 2, FRAMES[number]).tolist()
            seen.setdefault(number, set()).add(times[0])
    assert seen[0] == set(range(20 - 9 + 1))
    assert seen[1] == {0}
    assert seen[2] == {0}  # three frames: looped from the first
    assert seen[3] == set(range(14 - 9 + 1))


def test_training_clips_play_at_every_speed_and_fit_the_video_at_each(numbered_records):
    config = make_config(frames=4, stride=2, batch=150, per_video=25, speeds=(0.5, 1.0, 1.5))
    played = {speed: [int(2 * speed * t + 0.5) for t in range(5)] for speed in (0.5, 1.0, 1.5)}
    seen: dict[tuple[int, float], set[int]] = {}
    for frames, _ in read(train(numbered_records, config), 8):
        for clip in frames:
            number, times = numbers(clip)
            (speed,) = (
                s for s, row in played.items() if times == [(times[0] + offset) % FRAMES[number] for offset in row]
            )
            seen.setdefault((number, speed), set()).add(times[0])
    for number, speed in itertools.product((0, 1, 2, 3), played):
        last = max(FRAMES[number] - played[speed][-1] - 1, 0)
        assert seen[number, speed] == set(range(last + 1))


@pytest.mark.parametrize("flip", [False, True])
def test_augmentation_is_one_known_crop_and_flip_for_all_frames_of_a_clip(tmp_path, flip):
    still = np.repeat(textured(1, 24, 32), 8, axis=0)
    records = write_records(tmp_path, [(video("still", "run"), still)], jpeg_quality=95)
    config = make_config(batch=40, flip=flip, scales=(1.0, 0.75, 0.5))
    ((frames, _),) = read(train(records, config), 1)
    np.testing.assert_array_equal(frames, np.broadcast_to(frames[:, :1], frames.shape))

    picture = stored_pictures(records)[0]
    crops = {}
    for side in (24, 18, 12):
        corners = itertools.product((0, 24 - side), (0, 32 - side))
        for top, left in {*corners, ((24 - side) // 2, (32 - side) // 2)}:
            small = resized(picture[top : top + side, left : left + side], 16)
            crops |= {(side, top, left, False): small, (side, top, left, True): small[:, ::-1]}
    drawn = Counter()
    for clip in frames:
        distances = {key: np.abs(clip[0] - crop).mean() for key, crop in crops.items()}
        nearest = min(distances, key=distances.get)
        assert distances[nearest] < 1.5
        drawn[nearest] += 1
    assert {side for side, *_ in drawn} == {24, 18, 12}
    assert len({key[:3] for key in drawn}) > 8
    assert {flipped for *_, flipped in drawn} == ({False, True} if flip else {False})


def test_warp_and_brightness_are_drawn_for_each_clip_and_are_the_same_for_all_its_frames(tmp_path):
    still = np.repeat(textured(1, 24, 32), 8, axis=0)
    records = write_records(tmp_path, [(video("still", "run"), still)], jpeg_quality=95)
    plain = {"batch": 20, "flip": False, "scales": (1.0,), "positions": "centre"}
    ((untouched, _),) = read(train(records, make_config(**plain)), 1)
    for augment in ({"rotation": 20.0}, {"brightness": 0.5}):
        config = make_config(**plain, **augment)
        (_, (frames, _)) = read(train(records, config), 2)
        np.testing.assert_array_equal(frames, np.broadcast_to(frames[:, :1], frames.shape))
        assert len(np.unique(frames[:, 0], axis=0)) == 20
        assert all((clip != untouched[0]).any() for clip in frames)
        ((again, _),) = read(train(records, config, first_epoch=1), 1)
        np.testing.assert_array_equal(frames, again)


def test_only_the_frames_of_the_clip_are_decoded(tmp_path):
    frames = [tf.io.encode_jpeg(frame).numpy() for frame in numbered(1, 9)]
    broken = [jpeg if index % 2 == 0 else b"no picture" for index, jpeg in enumerate(frames)]
    with ShardWriter(tmp_path / "shard-00000.tfrecord") as shard:
        record = shard.add(video("v", "run"), broken, fps=15.0, height=40, width=30)
    config = make_config(frames=4, stride=2, batch=2)  # frames 0, 2, 4, 6, 8
    ((trained, _),) = read(training_dataset([record], tmp_path, CLASSES, config), 1)
    (evaluated,) = evaluation_dataset([record], tmp_path, CLASSES, config, clips=1)
    for clip in (*trained, *evaluated[0]["frames"].numpy()):
        assert numbers(clip) == (1, [0, 2, 4, 6, 8])


def test_a_frame_of_several_clips_is_decoded_once_for_evaluation(numbered_records, monkeypatch):
    decoded = []
    decode = tf.image.decode_and_crop_jpeg

    def counting(*arguments, **options):
        tf.py_function(lambda: decoded.append(1), [], [])
        return decode(*arguments, **options)

    monkeypatch.setattr(video_table.tf.image, "decode_and_crop_jpeg", counting)
    frames, _ = evaluate(numbered_records, make_config(frames=6), 10)
    assert len(frames) == 10 * len(FRAMES)
    assert 0 < len(decoded) <= sum(FRAMES)


def test_videos_that_are_held_in_memory_give_the_same_clips_without_their_records(tmp_path):
    videos = [(video(f"v{i}", CLASSES[i % 3]), textured(n, *SIZES[i % 2], seed=i)) for i, n in enumerate(FRAMES)]
    records = write_records(tmp_path, videos)
    config = {"batch": 4, "per_video": 2, "scales": [1.0, 0.8], "speeds": [1.0, 2.0]}
    decoded = read(train(records, make_config(**config)), 6)
    held = train(records, make_config(**config, memory=0.001))
    for record in records.videos:
        (tmp_path / record.shard).unlink(missing_ok=True)
    for (expected, labels), (found, same_labels) in zip(decoded, read(held, 6), strict=True):
        np.testing.assert_array_equal(labels, same_labels)
        # At the edge of a crop, JPEG's colours reach across.
        np.testing.assert_array_equal(found[:, :, 2:-2, 2:-2], expected[:, :, 2:-2, 2:-2])
        assert np.abs(found.astype(int) - expected).mean() < 0.5


def test_evaluation_has_uniform_clips_in_the_order_of_the_videos(numbered_records):
    frames, labels = evaluate(numbered_records, make_config(frames=5), 3)  # 6 frames a clip
    starts = [(0, 7, 14), (0, 2, 3), (0, 0, 0), (0, 4, 8), (0, 2, 3), (0, 12, 24)]
    expected = [
        (number, [(start + t) % FRAMES[number] for t in range(6)])
        for number, of_video in enumerate(starts)
        for start in of_video
    ]
    assert [numbers(clip) for clip in frames] == expected
    assert [numbered_records.classes[label] for label in labels] == [CLASSES[number % 3] for number, _ in expected]


def test_evaluation_batches_are_full_but_for_the_last(numbered_records):
    config = make_config()
    dataset = evaluation_dataset(numbered_records.videos, numbered_records.folder, CLASSES, config, clips=3)
    assert [len(labels) for _, labels in dataset] == [4, 4, 4, 4, 2]
    assert [len(labels) for _, labels in dataset] == [4, 4, 4, 4, 2]  # and again


@pytest.mark.parametrize(("height", "width", "size"), [(48, 61, 16), (40, 30, 21), (24, 32, 24), (24, 32, 32)])
def test_evaluation_is_the_resized_centre_of_the_stored_pictures(tmp_path, height, width, size):
    records = write_records(tmp_path, [(video("v", "run"), textured(7, height, width))])
    # None of which an evaluation takes notice of.
    augmented = make_config(scales=(0.66,), flip=True, speeds=(2.0,), rotation=20.0, zoom=0.2, brightness=0.5)
    frames, _ = evaluate(records, parse_config(augmented.model_dump() | {"model": {"frames": 4, "size": size}}, ""), 2)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    for clip, start in zip(frames, (0, 2), strict=True):
        for frame, picture in zip(clip, stored_pictures(records)[start : start + 5], strict=True):
            expected = resized(picture[top : top + side, left : left + side], size)
            # Two decoders may differ by a level or two, and at the edge of a crop by some more.
            assert np.abs(frame - expected).mean() < 1
            assert np.abs(frame - expected)[2:-2, 2:-2].max() <= 4


def test_clips_of_decoded_frames_are_those_of_the_record(tmp_path):
    frames = textured(11, 40, 30)
    records = write_records(tmp_path, [(video("v", "run"), frames)], jpeg_quality=95)
    config = make_config(stride=2)
    evaluated, _ = evaluate(records, config, 3)
    from_pictures = video_clips(iter(stored_pictures(records)), ClipFormat.of(config), clips=3)
    assert from_pictures.shape == (3, 5, 16, 16, 3)
    assert from_pictures.dtype == np.uint8
    assert np.abs(from_pictures.astype(int) - evaluated).mean() < 0.5
    assert np.abs(video_clips(frames, ClipFormat.of(config), clips=3).astype(int) - evaluated).mean() < 5  # JPEG's loss


def test_shapes_are_static(numbered_records):
    config = make_config()
    inputs, labels = train(numbered_records, config).element_spec
    assert inputs == {"frames": tf.TensorSpec([3, 5, 16, 16, 3], tf.uint8)}
    assert labels == tf.TensorSpec([3], tf.int32)
    assert train(numbered_records, config).cardinality() == tf.data.INFINITE_CARDINALITY
    evaluation = evaluation_dataset(numbered_records.videos, numbered_records.folder, CLASSES, config, clips=2)
    inputs, labels = evaluation.element_spec
    assert inputs == {"frames": tf.TensorSpec([None, 5, 16, 16, 3], tf.uint8)}
    assert labels == tf.TensorSpec([None], tf.int32)


@pytest.mark.parametrize("memory", [0.0, 1.0], ids=["decoded", "held"])
def test_frames_are_bytes_until_the_network_has_them(numbered_records, graph_nodes, monkeypatch, memory):
    maps = []
    make_map = pipeline._map
    monkeypatch.setattr(
        pipeline, "_map", lambda dataset, function: maps.append(function) or make_map(dataset, function)
    )
    config = make_config(memory=memory, rotation=5.0)
    train(numbered_records, config)
    evaluation_dataset(numbered_records.videos, numbered_records.folder, CLASSES, config, clips=2)
    for function in maps:
        nodes = graph_nodes(tf.function(function).get_concrete_function(tf.TensorSpec([], tf.int64)))
        # The operations that resize and warp take bytes; a copy of all frames in float32 has four times the size.
        casts = [node for node in nodes if node.op == "Cast" and node.attr["SrcT"].type == tf.uint8.as_datatype_enum]
        assert not casts
        assert any(node.op.startswith("Resize") for node in nodes)


def test_one_formula_of_indices_serves_arrays_and_tensors():
    for start, n_frames in ((0, 3), (4, 20)):
        of_tensors = clip_indices(tf.constant(start, tf.int64), 6, 2, tf.constant(n_frames, tf.int64))
        assert of_tensors.dtype == tf.int64
        assert of_tensors.numpy().tolist() == [(start + 2 * t) % n_frames for t in range(6)]


def test_an_unknown_label_is_named(numbered_records):
    with pytest.raises(KrespError, match=r"v0 has the label 'jump', which is none of the 2 classes \(run, walk\)"):
        training_dataset(numbered_records.videos, numbered_records.folder, ("run", "walk"), make_config())


def test_a_split_without_videos_is_refused(tmp_path):
    with pytest.raises(KrespError, match="at least one video"):
        evaluation_dataset((), tmp_path, CLASSES, make_config(), clips=1)
