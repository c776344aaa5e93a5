import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.config.schema import DataConfig
from kresp3d.datasets.inspect import Facts, Spread, check, stats, summarise


@pytest.fixture
def config(tmp_path, make_video):
    root = tmp_path / "videos"
    for label, group, frames, size in [
        ("run", "g01", 30, (64, 48)),
        ("run", "g02", 60, (64, 48)),
        ("walk", "g01", 90, (48, 32)),
    ]:
        make_video(root / label / f"{group}_{label}.mp4", frames=frames, fps=30, size=size)
    (root / "walk" / "g03_walk.mp4").write_bytes(b"no video" * 100)
    (root / "run" / "g03_run.mp4").write_bytes((root / "run" / "g02_run.mp4").read_bytes())
    return DataConfig(videos=str(root), group_regex="(g[0-9]+)_", validation=0.0, test=0.34, workers=1)


def test_check_names_the_bad_videos_and_writes_nothing(config, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    calls = []
    bad, total = check(config, progress=lambda done, total: calls.append((done, total)))
    assert [video.name for video in bad] == ["walk/g03_walk.mp4"]
    assert bad[0].reason
    assert total == 5
    assert calls[-1] == (5, 5)
    assert sorted(tmp_path.rglob("*")) == before


def test_stats_read_lengths_and_sizes_from_the_headers(config):
    found = stats(config)
    assert found.classes == ("run", "walk")
    assert {label: sum(counts.values()) for label, counts in found.videos.items()} == {"run": 3, "walk": 1}
    assert found.seconds["run"] == Spread(
        pytest.approx(1.0, abs=0.04), pytest.approx(2.0, abs=0.04), pytest.approx(2.0, abs=0.04)
    )
    assert found.seconds["walk"].high == pytest.approx(3.0, abs=0.04)
    assert found.frames.low == pytest.approx(15, abs=1)
    assert found.hours == pytest.approx(8 / 3600, rel=0.05)
    assert found.sizes == [((64, 48), 3), ((48, 32), 1)]
    assert [video.name for video in found.bad] == ["walk/g03_walk.mp4"]
    assert found.shared == {}


def fact(group: str | None, split: str, seconds: float | None = 1.0) -> Facts:
    return Facts(f"{group}-{split}", "a", group, split, 15, seconds, 48, 64)


def test_groups_on_both_sides_are_named():
    facts = [fact("g1", "train"), fact("g2", "train"), fact("g2", "test"), fact("g3", "validation"), fact(None, "test")]
    found = summarise(facts, ["a", "b"])
    assert found.shared == {("train", "test"): frozenset({"g2"})}
    assert found.groups == {"train": {"g1", "g2"}, "validation": {"g3"}, "test": {"g2"}}
    assert found.videos == {
        "a": {"train": 2, "validation": 1, "test": 2},
        "b": {"train": 0, "validation": 0, "test": 0},
    }
    assert found.seconds["b"] is None


@given(st.lists(st.none() | st.floats(0, 1e6)))
def test_a_spread_is_that_of_the_known_values(values):
    known = sorted(value for value in values if value is not None)
    spread = Spread.of(values)
    if not known:
        assert spread is None
    else:
        assert (spread.low, spread.high) == (known[0], known[-1])
        assert sum(v <= spread.middle for v in known) * 2 >= len(known)
        assert sum(v >= spread.middle for v in known) * 2 >= len(known)
