from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.config.schema import (
    AUTO,
    AUTOMATIC,
    Config,
    TrainingConfig,
    changed_keys,
    known_keys,
    load_config,
    make_config,
    override_config,
    parse_config,
    value_of,
)
from kresp3d.system.errors import UsageError

CONFIGS = Path(__file__).parents[2] / "configs"

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
shares = st.floats(0.0, 1.0, exclude_max=True)
positive = st.floats(1e-12, 1e6)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)

#: Valid configurations as plain values, with strings and numbers that are delicate in YAML ("no", "1e-3", 1e-09).
configurations = st.fixed_dictionaries(
    {},
    optional={
        "name": names | st.sampled_from(["no", "null", "1e3", "0x10", "2024-01-01"]),
        "seed": st.integers(0, 2**31 - 1),
        "data": st.fixed_dictionaries(
            {},
            optional={
                "videos": texts | st.sampled_from(["yes", "~", "é/ü", "a: b", "# c"]),
                "records": st.none() | texts,
                "validation": shares,
                "fps": positive,
                "short_side": st.integers(112, 4096),
            },
        ),
        "clip": st.fixed_dictionaries(
            {}, optional={"augment": st.fixed_dictionaries({"scales": st.lists(positive.filter(lambda x: x <= 1.0))})}
        ),
        "model": st.fixed_dictionaries(
            {},
            optional={
                "blocks": st.lists(st.integers(1, 9), min_size=1, max_size=5),
                "variant": st.sampled_from(["p3d", "full3d"]),
                "attention": st.booleans(),
                "dropout": shares,
            },
        ),
        "training": st.fixed_dictionaries(
            {}, optional={"learning_rate": positive, "clip_norm": st.none() | positive, "ema": st.none() | shares}
        ),
    },
)


def write(path: Path, values: Any) -> Path:
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    return path


@given(configurations)
def test_yaml_reads_back_to_an_equal_configuration(values: dict[str, Any]) -> None:
    config = parse_config(values, "test")
    assert parse_config(yaml.safe_load(config.to_yaml()), "test") == config


def test_a_written_file_loads_to_an_equal_configuration(tmp_path: Path) -> None:
    config = load_config(None, ["name=ete", "data.videos=vidéos/ü", "training.ema=0.999"])
    assert load_config(write(tmp_path / "config.yaml", config.to_yaml())) == config


def test_without_a_file_the_defaults_hold() -> None:
    assert load_config() == Config()


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path / "empty.yaml", "# nothing\n")) == Config()


def test_extends_lays_a_file_over_its_parent_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "parents").mkdir()
    write(tmp_path / "parents/a.yaml", {"seed": 7, "model": {"width": 8, "fc1": 16}, "training": {"epochs": 3}})
    write(tmp_path / "parents/b.yaml", {"extends": "a.yaml", "model": {"width": 12}})
    config = load_config(write(tmp_path / "c.yaml", {"extends": "parents/b.yaml", "training": {"epochs": 5}}))
    assert (config.seed, config.model.width, config.model.fc1, config.training.epochs) == (7, 12, 16, 5)


def test_a_list_replaces_its_parents_list(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", {"model": {"blocks": [1, 1, 1, 1]}})
    config = load_config(write(tmp_path / "b.yaml", {"extends": "a.yaml", "model": {"blocks": [2]}}))
    assert config.model.blocks == (2,)


def test_files_that_extend_each_other_are_refused_with_the_circle(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", {"extends": "b.yaml"})
    write(tmp_path / "b.yaml", {"extends": "a.yaml"})
    with pytest.raises(UsageError, match=r"circle: .*a\.yaml -> .*b\.yaml -> .*a\.yaml"):
        load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [1", "is not valid YAML"),
        ("- 1\n- 2\n", "expected keys and values, received list"),
        ("extends: [a.yaml]\n", "'extends' must be one file or name"),
        ("extends: none.yaml\n", r"file not found: .*none\.yaml"),
        ("model: 3\n", "'model': .*received 3"),
        ("training:\n  epochs: 0\n", "'training.epochs': .*greater than or equal to 1, or auto, received 0"),
        ("data:\n  videos: v\n  short_side: 48\n", "data.short_side is 48, below model.size 64"),
        ("auto: []\n", "unknown key 'auto'"),
        ("training:\n  keep: first\n", "'training.keep': .*or auto, received 'first'"),
        ("training:\n  batch_size: auto\n", "'training.batch_size': .*received 'auto'"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_it(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path / "bad.yaml", text)
    with pytest.raises(UsageError, match=sentence) as caught:
        load_config(path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "video.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UsageError, match=r"video\.yaml is not valid YAML"):
        load_config(path)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, outside the clone."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_name_is_the_packaged_file_in_any_folder(elsewhere: Path) -> None:
    for name in ("base", "paper/synthetic/rgb"):
        assert load_config(name, ["seed=5"]) == load_config(CONFIGS / f"{name}.yaml", ["seed=5"])


def test_a_path_as_in_a_clone_is_the_packaged_file_where_there_is_none(
    elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "kresp3d"):
        assert load_config(Path("configs/paper/synthetic/rgb.yaml")) == load_config("paper/synthetic/rgb")
    assert "configs/paper/synthetic/rgb.yaml is not here" in caplog.text


def test_a_file_wins_over_a_name_and_a_folder_does_not(elsewhere: Path) -> None:
    (elsewhere / "base").mkdir()
    assert load_config("base").name == "base"
    (elsewhere / "base").rmdir()
    write(elsewhere / "base", {"name": "mine"})
    (elsewhere / "configs").mkdir()
    write(elsewhere / "configs/base.yaml", {"name": "theirs"})
    assert load_config("base").name == "mine"
    assert load_config("configs/base.yaml").name == "theirs"


def test_a_file_extends_a_name_unless_a_file_beside_it_has_it(elsewhere: Path) -> None:
    (elsewhere / "folder").mkdir()
    path = write(elsewhere / "folder/a.yaml", {"extends": "paper/synthetic/rgb", "seed": 9})
    assert load_config(path) == load_config("paper/synthetic/rgb", ["seed=9"])
    (elsewhere / "folder/paper/synthetic").mkdir(parents=True)
    write(elsewhere / "folder/paper/synthetic/rgb", {"name": "mine"})
    assert load_config(path) == load_config(None, ["name=mine", "seed=9"])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("bse", "did you mean 'base'?"),
        ("base.yaml", "did you mean 'base'?"),
        ("configs/hmdb52.yaml", "did you mean 'hmdb51'?"),
        ("synthetic/rgb", "did you mean 'paper/synthetic/rgb'?"),
        ("rgb", "'paper/msr-action3d/rgb' or 'paper/synthetic/rgb' or 'paper/ucf101/rgb'?"),
        ("zzzz", "`kresp3d config list`"),
        ("../configs/base.yaml", "not found"),
        ("/configs/base.yaml", "not found"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(elsewhere: Path, written: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"{re.escape(written)}; .*" if meant == "not found" else re.escape(meant)):
        load_config(written)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UsageError, match=r"not found: nowhere\.yaml"):
        load_config("nowhere.yaml")


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("training.epoch", "did you mean 'training.epochs'?"),
        ("training.lr", "did you mean 'training.learning_rate'?"),
        ("training.frames", "did you mean 'model.frames'?"),
        ("model.size_", "did you mean 'model.size'?"),
        ("trainig.epochs", "did you mean 'training'?"),
        ("learning_rate", "did you mean 'training.learning_rate'?"),
        ("evaluation.zzzz", "evaluation takes clips, batch_size, split"),
        ("zzzz", "a configuration takes name, seed, data, clip, model, training, evaluation"),
    ],
)
def test_an_unknown_key_is_refused_with_what_was_probably_meant(key: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(hint)):
        load_config(None, [f"{key}=1"])


def test_overrides_are_laid_over_the_file_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", {"training": {"epochs": 3, "batch_size": 4}})
    config = load_config(path, ["training.epochs=5", "training.epochs=6", "model.blocks=[1, 2]", "training.ema=null"])
    assert (config.training.epochs, config.training.batch_size) == (6, 4)
    assert config.model.blocks == (1, 2)
    assert config.training.ema is None


def test_an_override_takes_a_number_in_exponent_form() -> None:
    assert load_config(None, ["training.weight_decay=1e-4"]).training.weight_decay == 1e-4


def test_an_override_does_not_change_a_section_shared_between_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "model: &m\n  width: 8\n")
    assert load_config(path, ["model.width=16"]).model.width == 16
    assert load_config(path).model.width == 8


@pytest.mark.parametrize("override", ["training.epochs", "=3", "training.=3", ".epochs=3", "training..epochs=3"])
def test_an_override_of_another_form_is_refused(override: str) -> None:
    with pytest.raises(UsageError, match="expected KEY=VALUE"):
        load_config(None, [override])


def test_an_override_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(UsageError, match="not valid YAML"):
        load_config(None, ["model.blocks=[1"])


def test_many_mistakes_are_counted_not_listed() -> None:
    with pytest.raises(UsageError, match="and 2 more"):
        parse_config({f"zz{i}": 1 for i in range(7)}, "test")


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 3  # type: ignore[misc]


def test_known_keys_are_those_of_the_written_file() -> None:
    def dotted(values: dict[str, Any], prefix: str = "") -> list[str]:
        keys = []
        for key, value in values.items():
            keys.append(prefix + key)
            if isinstance(value, dict):
                keys += dotted(value, f"{prefix}{key}.")
        return keys

    assert known_keys() == dotted(yaml.safe_load(Config().to_yaml()))


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        (r"data.group_regex=[^_]+_(p\d+)_", "data", "group_regex", r"[^_]+_(p\d+)_"),
        (r"data.group_regex=.*: (p) #x", "data", "group_regex", ".*: (p) #x"),
        ("data.group_regex=null", "data", "group_regex", None),
        ("data.videos=2024", "data", "videos", "2024"),
        ("data.videos=0123", "data", "videos", "0123"),
        ("data.classes=[no, yes, 1]", "data", "classes", ("no", "yes", "1")),
        ("data.classes=null", "data", "classes", None),
        ("training.ema=null", "training", "ema", None),
        ("training.epochs=7", "training", "epochs", 7),
        ("model.modality=rgb", "model", "modality", "rgb"),
    ],
)
def test_text_on_the_command_line_is_taken_as_it_stands(override, section, key, value):
    assert getattr(getattr(load_config(None, [override]), section), key) == value


def test_gradient_checkpointing_and_statistics_over_replicas_exclude_each_other():
    values = {"training": {"gradient_checkpointing": True}, "model": {"norm": "sync_batch"}}
    with pytest.raises(UsageError, match=r"gradient_checkpointing .* sync_batch"):
        parse_config(values, "the test")


@pytest.mark.parametrize(
    ("override", "mapping"),
    [
        ("training.epochs=5", {"training.epochs": 5}),
        ("model.blocks=[1, 1]", {"model.blocks": [1, 1]}),
        ("training.clip_norm=null", {"training.clip_norm": None}),
        ("model.stem_pool=false", {"model.stem_pool": False}),
        ("training.epochs=auto", {"training.epochs": "auto"}),
        ("training.ema=0.9", {"training": {"ema": 0.9}}),
        ("data.videos=my videos", {"data.videos": Path("my videos")}),
        ("data.group_regex=null", {"data": {"group_regex": None}}),
        ("name=5", {"name": "5"}),
    ],
)
def test_python_values_do_what_set_does(override: str, mapping: dict[str, Any], tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", {"training": {"batch_size": 8, "epochs": 2}, "data": {"group_regex": "(a)"}})
    expected = load_config(file, [override])
    assert load_config(file, mapping) == make_config(file, mapping) == expected != load_config(file)
    assert expected.training.batch_size == 8


def test_a_configuration_is_made_of_values_or_of_another_one() -> None:
    values = {"training": {"epochs": 7}, "model.blocks": [2]}
    config = make_config(values, {"training.batch_size": 3})
    assert (config.training.epochs, config.training.batch_size, config.model.blocks) == (7, 3, (2,))
    assert make_config(config) == config
    assert make_config(config, {"training": {"epochs": 8}}).training.batch_size == 3
    assert values == {"training": {"epochs": 7}, "model.blocks": [2]}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"training.epoch": 5}, "did you mean 'training.epochs'"),
        ({"training.": 5}, "unknown key 'training.'"),
        ({"training.epochs": "many"}, "'training.epochs'"),
        ({"model": 5}, "'model'"),
    ],
)
def test_mistakes_in_a_mapping_get_a_sentence(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        make_config({}, overrides)


def test_what_is_auto_is_written_as_such_and_read_back() -> None:
    config = load_config(None, ["training.epochs=7"])
    assert config.auto == frozenset(AUTOMATIC) - {"training.epochs"}
    values = yaml.safe_load(config.to_yaml())
    assert values["training"]["epochs"] == 7 and values["clip"]["per_video"] == AUTO == value_of(
        config, "clip.per_video"
    )
    assert AUTO not in values and parse_config(values, "the test") == config
    assert override_config(config, {"training.epochs": AUTO}, "the test") == Config()


@given(st.sets(st.sampled_from(AUTOMATIC)))
def test_any_key_may_be_auto_beside_any_other(keys: set[str]) -> None:
    config = load_config("base", [f"{key}=auto" for key in sorted(keys)])
    assert config.auto == keys
    assert [key for key, _, _ in changed_keys(config, load_config("base"))] == [
        key for key in known_keys() if key in keys
    ]


def test_a_section_made_in_python_has_settled_what_it_was_given() -> None:
    config = Config(training=TrainingConfig(epochs=3))
    assert config.auto == frozenset(AUTOMATIC) - {"training.epochs"} and config.training.epochs == 3


def kinds(annotation: Any) -> set[Any]:
    """The types that a key's annotation is made of."""
    return {annotation, get_origin(annotation)}.union(*map(kinds, get_args(annotation)))


def float_keys(section: Any = Config, prefix: str = "") -> dict[str, bool]:
    """Each key that takes numbers, and whether it takes a list of them."""
    found = {}
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            found |= float_keys(field.annotation, f"{prefix}{name}.")
        elif float in kinds(field.annotation) and dict not in kinds(field.annotation):
            found[prefix + name] = tuple in kinds(field.annotation)
    return found


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("key", float_keys())
def test_numbers_that_are_not_finite_are_refused(key, value):
    with pytest.raises(UsageError, match=rf"'{key}(\.0)?': .*received {value}"):
        make_config({}, {key: [value] if float_keys()[key] else value})
    # As YAML writes them.
    text = {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}[str(value)]
    with pytest.raises(UsageError, match=rf"'{key}(\.0)?': "):
        make_config({}, f"{key}=[{text}]" if float_keys()[key] else f"{key}={text}")


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 0.0])
def test_the_weight_of_a_class_is_a_number_above_0(value):
    with pytest.raises(UsageError, match=rf"'training\.class_weights.*received .*{value}"):
        make_config({}, {"training.class_weights": {"fall": value}})


def test_the_keys_that_take_numbers_were_found():
    assert {"data.fps", "training.learning_rate", "training.clip_norm", "clip.augment.scales"} <= set(float_keys())
    with pytest.raises(UsageError, match=r"tune\.space\.seed"):
        make_config({}, {"tune.space": {"seed": {"float": [0, float("inf")]}}})


def test_a_single_override_needs_no_list():
    assert make_config({}, "training.epochs=3") == make_config({}, ["training.epochs=3"])
    assert load_config(None, "training.epochs=3").training.epochs == 3


@pytest.mark.parametrize("overrides", [5, [5], b"seed=1", [b"seed=1"], [None], 0.5])
def test_overrides_of_another_kind_get_a_sentence(overrides):
    with pytest.raises(UsageError, match="expected overrides as keys with values, or as KEY=VALUE strings; received "):
        make_config({}, overrides)


@pytest.mark.parametrize("source", [5, b"base", ["base"], None, 0.5])
def test_a_configuration_of_another_kind_gets_a_sentence(source):
    with pytest.raises(UsageError, match=r"expected a configuration: a YAML file, a name such as 'base', .* received "):
        make_config(source)


@pytest.mark.parametrize("key", ["training.epochs", "training.batch_size", "evaluation.clips", "clip.per_video"])
def test_numbers_that_tensorflow_cannot_count_to_are_refused(key):
    with pytest.raises(UsageError, match=rf"'{key}': .*less than 2147483648.*received 99999999999999999999"):
        load_config("base", [f"{key}=99999999999999999999"])
