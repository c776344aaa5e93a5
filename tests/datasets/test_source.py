from pathlib import Path

from kresp3d.config.schema import DataConfig, SyntheticConfig
from kresp3d.datasets.source import resolve_videos, synthetic_folder, videos_path

TINY = SyntheticConfig(subjects=1, videos_per_class=1, size=32, seconds=0.2)


def test_named_videos_are_left_alone():
    config = DataConfig(videos="some/folder")
    assert resolve_videos(config) is config
    assert videos_path(config) == Path("some/folder")


def test_home_is_understood(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert videos_path(DataConfig(videos="~/v")) == Path("/home/someone/v")


def test_embedded_videos_are_rendered_once(tmp_path):
    config = DataConfig(cache=str(tmp_path), synthetic=TINY, workers=1)
    calls = []
    resolved = resolve_videos(config, progress=lambda done, total: calls.append((done, total)))
    catalog = Path(resolved.videos)
    assert catalog == videos_path(config)
    assert len(catalog.read_text().splitlines()) == 11
    assert calls[-1] == (10, 10)
    before = catalog.stat().st_mtime_ns
    calls.clear()
    assert resolve_videos(config, progress=lambda *call: calls.append(call)) == resolved
    assert calls == []
    assert catalog.stat().st_mtime_ns == before


def test_other_settings_have_another_folder():
    config = DataConfig(synthetic=TINY)
    other = DataConfig(synthetic=TINY.model_copy(update={"seed": 1}))
    assert synthetic_folder(config) != synthetic_folder(other)
