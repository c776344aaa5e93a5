"""The configuration of a run: typed, frozen, and read from YAML.

A file may name another with `extends: other.yaml` (relative to itself) or `extends: base` (one that comes with kresp3d;
see `kresp3d.config.load`) and is laid over it key by key.
`--set a.b=value` is laid over both. Unknown keys are refused, with the nearest known one.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, TypeAlias, Union, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from kresp3d.config.load import find_config
from kresp3d.system.arguments import check_path, shown
from kresp3d.system.errors import UsageError
from kresp3d.system.plain_yaml import parse_yaml

#: What a key of `AUTOMATIC` says where it is to be settled when the videos are known; see `kresp3d.training.plan`.
AUTO = "auto"
#: Keys that may say `auto`, which is their default. Until they are settled, they hold the values of `base.yaml`.
AUTOMATIC = (
    "data.validation",
    "clip.frame_stride",
    "clip.per_video",
    "model.frames",
    "training.epochs",
    "training.warmup_epochs",
    "training.ema",
    "training.keep",
)
#: The value of `data.videos` that stands for the embedded dataset.
SYNTHETIC = "synthetic"
#: Signs of a value, or of what YAML says, that are shown in a message.
SHOWN = 200

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Scale = Annotated[float, Field(gt=0.0, le=1.0)]
Speed = Annotated[float, Field(ge=0.25, le=4.0)]
#: No larger than what TensorFlow counts by.
PositiveInt = Annotated[int, Field(ge=1, lt=2**31)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
#: So far apart that the one with the lower weight counts for nothing.
ClassWeight = Annotated[float, Field(ge=1e-6, le=1e6)]
#: What is laid over a configuration: keys such as `training.epochs` with their values, which are Python's (a mapping
#: is laid over a section key by key); or `a.b=value` strings, whose values are YAML.
Overrides: TypeAlias = Mapping[str, Any] | Iterable[str]
Method = Literal["prune", "prune-2x4", "cluster", "qat", "slim"]


class Section(BaseModel):
    """A frozen part of the configuration that refuses keys it does not know, and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SyntheticConfig(Section):
    """The embedded dataset: how many videos of the articulated figure are rendered, and how."""

    subjects: PositiveInt = 20
    videos_per_class: PositiveInt = 3
    """Videos of each subject doing each action."""
    size: Annotated[int, Field(ge=32, multiple_of=2)] = 96
    """Height of the video in pixels; the width is 4/3 of it."""
    seconds: PositiveFloat = 3.0
    fps: PositiveFloat = 25.0
    seed: Annotated[int, Field(ge=0)] = 0


class DataConfig(Section):
    """Where the videos are, how they are split, and how they become records."""

    videos: str = SYNTHETIC
    """A folder of `class/video`, an UCF101 or HMDB51 tree, a CSV file, or `synthetic`."""
    cache: str = "data"
    """Folder for the embedded videos and, unless `records` says otherwise, for records."""
    records: str | None = None
    """Folder of the TFRecord shards. By default one below `cache`, named after the videos and the settings."""
    format: Literal["auto", "folder", "csv", "ucf101", "hmdb51"] = "auto"
    classes: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Use these classes alone; null for all."""
    splits: str | None = None
    """Folder with the official split lists of UCF101 or HMDB51. By default looked for in and beside `videos`."""
    split: Annotated[int, Field(ge=1, le=3)] = 1
    """Which of the three official splits."""
    split_column: str = "split"
    """The CSV column that holds the split."""
    group_regex: str | None = None
    """Regular expression on a video's relative path; its first group is the video's group."""
    validation: Fraction = 0.15
    """Share of the training groups set aside for validation, where the data brings no validation split. `auto`: 0.15
    where that is enough to choose an epoch by, or validation is asked for; else 0, so that all are learned from."""
    test: Fraction = 0.2
    """Share of the groups set aside for testing, where the data brings no split at all."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    allow_group_leak: bool = False
    allow_outside: bool = False
    """Accept a CSV file that names videos outside its own folder."""
    fps: PositiveFloat = 15.0
    short_side: Annotated[int, Field(ge=16)] = 96
    """Short side of the stored frames, in pixels. Smaller videos are kept as they are."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    max_bad: Fraction = 0.01
    """Largest share of undecodable videos that `prepare` accepts."""
    skip_damaged: bool = False
    """Read all records before training and evaluation, and leave out those whose checksum is wrong."""
    workers: PositiveInt | None = None
    """Processes that decode. By default one for each core."""
    time_limit: PositiveFloat | None = 600.0
    """Seconds that a video may take to decode."""
    memory: Annotated[float, Field(ge=0)] = 1.0
    """GiB. Training videos are held in memory, decoded, if they take no more."""
    service: Annotated[str, Field(pattern=r"^grpc://.+:[0-9]+$")] | None = None
    """`grpc://HOST:PORT` of the dispatcher of a `tf.data` service, whose workers read, decode and augment training
    clips; see `kresp3d data serve`. Null: this process does it."""
    synthetic: SyntheticConfig = SyntheticConfig()


class AugmentConfig(Section):
    """Augmentation of training clips; the same for all frames of a clip."""

    scales: tuple[Scale, ...] = (1.0,)
    """Side of the square crop, as a share of the short side; one is drawn for each clip."""
    positions: Literal["corners", "centre"] = "centre"
    """`corners`: the four corners and the centre."""
    speeds: tuple[Speed, ...] = Field(default=(1.0,), min_length=1)
    """How fast the video plays, as a multiple of its own speed; one is drawn for each clip."""
    flip: bool = True
    """Mirror half of the clips. Off where left and right tell classes apart."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Rotate by at most so many degrees, either way; with this and the next three, what comes in is black."""
    translation: Fraction = 0.1
    """Move by at most this share of the side, right or left and up or down."""
    zoom: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Show things up to `1 + zoom` times larger or smaller."""
    stretch: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Change width over height up to `1 + stretch` times, either way."""
    brightness: Annotated[float, Field(ge=0, le=3)] = 0.0
    """Multiply pixels by up to `1 + brightness`, or divide them by it."""


class ClipConfig(Section):
    """How clips are cut from a video in training."""

    frame_stride: PositiveInt = 1
    """Every so many stored frames make a clip. `auto`: by how long the videos are."""
    per_video: PositiveInt = 1
    """Clips taken from each video in one epoch. `auto`: so many that an epoch has 40 steps."""
    balanced: bool = False
    """Take equally many training clips of each class: videos of rare classes come more often than `per_video` times in
    an epoch, those of frequent ones less often."""
    augment: AugmentConfig = AugmentConfig()


class ModelConfig(Section):
    """The network. The defaults are a small one, for CPUs; the paper's Table 1 is `ucf101.yaml`."""

    variant: Literal["p3d", "full3d"] = "p3d"
    modality: Literal["rgb", "residual", "both"] = "both"
    frames: PositiveInt = 16
    """Frames `T` in each stream; a clip has `T + step`. `auto`: 16, or fewer where most videos are shorter."""
    size: Annotated[int, Field(ge=16)] = 64
    """Side of the square input, in pixels."""
    step: PositiveInt = 1
    """Step size `s` of the residual frames `|x[t+s] - x[t]|`."""
    width: PositiveInt = 16
    """Channels of each stem and of the first stage; every next stage has twice as many."""
    blocks: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 1, 1, 1)
    """Bottlenecks in each stage."""
    expansion: PositiveInt = 1
    """Channels out of a bottleneck, as a multiple of those inside; 4 is the classic one."""
    attention: bool = True
    feature_residual: bool = True
    attention_pool: Literal["space_time", "space"] = "space_time"
    norm: Literal["batch", "sync_batch"] = "batch"
    """`sync_batch`: batch statistics are taken over all replicas."""
    stem_pool: bool = True
    """A 3x3 max-pool after the stems, as in a ResNet; 3.4 times fewer multiply-adds."""
    fc1: PositiveInt = 256
    dropout: Fraction = 0.2


class TrainingConfig(Section):
    """The optimiser and the run."""

    epochs: PositiveInt = 55
    """`auto`: as many as the number of videos asks for, and `minutes` allow."""
    minutes: PositiveFloat | None = 8.0
    """Most minutes that a training may take for which `epochs` is `auto`, on the machine that begins it; null: no
    limit."""
    batch_size: PositiveInt = 8
    """Clips in a step, over all replicas."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """AdamW gets further in few steps; it wants a learning rate near 0.001."""
    learning_rate: PositiveFloat = 0.003
    momentum: Fraction = 0.9
    """Of SGD, or AdamW's `beta_1`."""
    nesterov: bool = True
    """SGD only."""
    warmup_epochs: Annotated[float, Field(ge=0)] = 3
    """Epochs in which the learning rate rises. `auto`: a twentieth of `epochs`."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.2
    label_smoothing: Fraction = 0.1
    class_weights: Literal["none", "balanced"] | dict[str, ClassWeight] = "none"
    """What the loss of a clip is multiplied by: nothing, what makes all classes weigh alike, or a number for each class
    that is named, 1 for the others; then all by one number, so that the mean over the training clips is 1."""
    clip_norm: PositiveFloat | None = 5.0
    """Largest norm of the whole gradient; null for no clipping."""
    ema: Fraction | None = 0.99
    """Decay of the exponential moving average of the weights, used for evaluation; null for none. It grows to this
    value in the first steps. `auto`: 0.99, or less in a training so short that it would lag behind."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """`auto`: mixed_bfloat16 where the CPU has instructions for it, else float32; a run notes which. Without them,
    bfloat16 on a CPU is many times slower than float32."""
    gradient_checkpointing: bool = False
    """Compute the inside of each bottleneck anew for its gradient instead of keeping it: half the memory of a clip, and
    a third more time."""
    check_memory: bool = True
    """Refuse a training that will not fit into the memory of this machine, before it begins; not on a GPU."""
    jit_compile: bool = False
    """XLA. It halves the speed of training on a CPU."""
    deterministic: bool = False
    """Same seed, same weights, to the last bit; somewhat slower."""
    strategy: Literal["auto", "mirrored", "none", "multi_worker"] = "auto"
    """Which devices share the clips of a step: all GPUs of this host (`auto`, `mirrored`), one device (`none`), or
    those of several hosts (`multi_worker`), which the environment variable TF_CONFIG names."""
    replicas: PositiveInt | None = None
    """Number of replicas; without enough GPUs, logical CPU devices are made, to try things out."""
    early_stop: PositiveInt | None = None
    """Stop after so many epochs without a better validation score; null for never."""
    keep: Literal["best", "last"] = "last"
    """The network that is kept: of the best epoch by validation top-1, or of the last one, which is the steadier
    choice where the validation videos are few. `auto`: by how many there are."""
    checkpoints: PositiveInt = 2
    """Checkpoints that are kept, each three times as large as the network. Should the last be damaged, `--resume` goes
    on from the one before."""
    validation_clips: PositiveInt = 1
    """Clips of each validation video, after every epoch."""
    tensorboard_clips: Annotated[int, Field(ge=0)] = 4
    """Training clips shown in TensorBoard, and validation clips that are explained there."""
    tensorboard_every: Annotated[int, Field(ge=0)] | None = 10
    """After every so many epochs, and after the last, TensorBoard gets the confusion matrix of the validation videos,
    what the attention does, and Grad-CAM of a few clips; 0 or null: never."""
    profile: tuple[Annotated[int, Field(ge=0)], PositiveInt] | None = None
    """Steps whose computation TensorBoard's Profile page shows: the first one, and the first one after it that is left
    out. Counted from 0 over all epochs; null: none."""

    @field_validator("class_weights", mode="wrap")
    @classmethod
    def _read_class_weights(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, Mapping):
            # YAML takes the name of a class such as 12 for a number.
            value = {str(key) if type(key) is int else key: weight for key, weight in value.items()}
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(
                "expected none, balanced, or the names of classes with numbers from 0.000001 to 1000000, such as "
                "{fall: 3}; names such as yes or 01 go in quotes"
            ) from None

    @model_validator(mode="after")
    def _check_profile(self) -> Self:
        if self.profile is not None and self.profile[0] >= self.profile[1]:
            raise ValueError(f"profile must be [FIRST, END] with FIRST below END, received {list(self.profile)}")
        return self


class EvaluationConfig(Section):
    """How a trained network is measured."""

    clips: PositiveInt = 10
    """Clips taken uniformly from a video; their scores are averaged."""
    batch_size: PositiveInt = 16
    """Clips computed at once."""
    split: Literal["test", "validation", "train"] = "test"


class Dimension(Section):
    """The values that `kresp3d tune` may give one key: just one of `choice`, `int`, `float` and `bool`."""

    choice: Annotated[tuple[Any, ...], Field(min_length=2)] | None = None
    """These values."""
    integers: Annotated[tuple[int, int] | None, Field(alias="int")] = None
    """Whole numbers from the first to the last, both included."""
    numbers: Annotated[tuple[float, float] | None, Field(alias="float")] = None
    """Numbers from the first to the last."""
    boolean: Annotated[Literal[True] | None, Field(alias="bool")] = None
    """False and true; the word `bool` alone says the same."""
    step: PositiveFloat | None = None
    """Between two neighbours: the difference, or with `log` the ratio. Of `int` and `float`."""
    log: bool = False
    """Equal ratios are equally likely, not equal differences. Of `int` and `float`."""
    when: dict[str, tuple[Any, ...]] = Field(default={})
    """Other keys of the space, and the values of theirs with which this key matters; elsewhere it is not varied."""

    @model_validator(mode="before")
    @classmethod
    def _read_short_forms(cls, values: Any) -> Any:
        if values == "bool":
            return {"bool": True}
        if isinstance(values, Mapping) and isinstance(values.get("when"), Mapping):
            when = {
                key: value if isinstance(value, list | tuple) else (value,) for key, value in values["when"].items()
            }
            return {**values, "when": when}
        if not isinstance(values, Mapping):
            raise ValueError("expected `bool`, or one of choice, int and float with its values")
        return values

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        kinds = [kind for kind in (self.choice, self.integers, self.numbers, self.boolean) if kind is not None]
        if len(kinds) != 1:
            raise ValueError("expected just one of choice, int, float and bool")
        bounds = self.integers or self.numbers
        if bounds is None:
            if self.step is not None or self.log:
                raise ValueError("step and log are for int and float")
            return self
        if bounds[0] >= bounds[1]:
            raise ValueError(f"expected [LOWEST, HIGHEST], received {list(bounds)}")
        if self.log and bounds[0] <= 0:
            raise ValueError("log wants a lowest value above 0")
        if self.log and self.step is not None and self.step <= 1:
            raise ValueError("with log, step is a ratio and must be above 1")
        if self.integers and self.step is not None and self.step % 1:
            raise ValueError("a step of int must be a whole number")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_set(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in serialize(self).items() if value}


class TuneConfig(Section):
    """What `kresp3d tune` tries. Every other command leaves it alone."""

    oracle: Literal["grid", "random", "bayesian", "hyperband"] = "grid"
    """What chooses the next trial: all combinations in turn, chance, a Gaussian process, or chance with successive
    halving of the epochs."""
    trials: PositiveInt | None = None
    """Most trials; null for all of the grid or of Hyperband, and 20 of the others."""
    seeds: PositiveInt = 1
    """Trainings of each trial, with `seed` and the seeds after it."""
    stop_early: PositiveInt | None = None
    """From this epoch on, end a training that is worse than the median of the others at the same epoch; null: never."""
    space: dict[str, Dimension] = Field(default={})
    """Key of the configuration -> its values."""

    @model_validator(mode="after")
    def _check_stop_early(self) -> Self:
        if self.stop_early is not None and self.oracle == "hyperband":
            raise ValueError("tune.stop_early is for the other oracles: hyperband stops trainings itself")
        return self


class CompressConfig(Section):
    """What `kresp3d compress` does to a trained network. A training from scratch leaves it alone."""

    methods: tuple[Method, ...] = ()
    """What was done to the network, the last of it in this run; `kresp3d compress --method` sets it."""
    layers: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Layers by name, `*` for any part of it, such as `[res4*, fc1]`. By default all convolutions but the stems', and
    fc1."""
    sparsity: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.75
    """Share of the weights of each layer that `prune` sets to zero."""
    schedule: Literal["polynomial", "constant"] = "polynomial"
    """Whether the sparsity rises step by step, most at first, or is there from the first step on."""
    ramp: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Share of the training in which the sparsity rises."""
    block: tuple[PositiveInt, PositiveInt] = (1, 1)
    """Weights that `prune` sets to zero together: so many inputs of so many outputs."""
    clusters: Annotated[int, Field(ge=2)] = 16
    """Different values of each layer's weights after `cluster`, at the most."""
    width: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Share of the channels of each layer that `slim` keeps."""

    @property
    def method(self) -> Method | None:
        """What is done to the network in this run; `None` in a training from scratch."""
        return self.methods[-1] if self.methods else None


class Config(Section):
    """Everything that determines a run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "run"
    """The run folder is `runs/NAME` unless `--out` says otherwise."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: DataConfig = DataConfig()
    clip: ClipConfig = ClipConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tune: TuneConfig = TuneConfig()
    compress: CompressConfig = CompressConfig()
    auto: Annotated[frozenset[str], Field(exclude=True)] = frozenset(AUTOMATIC)
    """The keys of `AUTOMATIC` that are not settled yet. No key of a file: there they say `auto` themselves."""

    @model_validator(mode="before")
    @classmethod
    def _set_auto_aside(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        if AUTO in values:
            raise ValueError(f"unknown key '{AUTO}'; it is the value of keys such as training.epochs")
        settled, auto = dict(values), set()
        for key in AUTOMATIC:
            section, name = key.split(".")
            given = settled.get(section)
            if isinstance(given, BaseModel):
                if name not in given.model_fields_set:
                    auto.add(key)
            elif not isinstance(given, Mapping) or given.get(name, AUTO) == AUTO:
                auto.add(key)
                if isinstance(given, Mapping):
                    settled[section] = {other: value for other, value in given.items() if other != name}
        return {**settled, AUTO: auto}

    @model_serializer(mode="wrap")
    def _put_auto_back(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        for key in self.auto:
            section, name = key.split(".")
            if section in values:
                values[section][name] = AUTO
        return values

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.data.short_side < self.model.size and self.data.videos != SYNTHETIC:
            raise ValueError(
                f"data.short_side is {self.data.short_side}, below model.size {self.model.size}: "
                "stored frames would be enlarged; raise the first or lower the second"
            )
        return self

    @model_validator(mode="after")
    def _check_balance(self) -> Self:
        if self.clip.balanced and self.training.class_weights == "balanced":
            raise ValueError(
                "clip.balanced and training.class_weights: balanced would each make up for rare classes, and rare ones "
                "would weigh most; set one of the two back"
            )
        return self

    @model_validator(mode="after")
    def _check_checkpointing(self) -> Self:
        if self.training.gradient_checkpointing and self.model.norm == "sync_batch":
            raise ValueError(
                "training.gradient_checkpointing would have model.norm sync_batch count each batch twice; "
                "set one of the two back"
            )
        return self

    def to_values(self) -> dict[str, Any]:
        """The whole configuration as plain values, as YAML has them."""
        return self.model_dump(mode="json", by_alias=True)

    def to_yaml(self, notes: Iterable[str] = ()) -> str:
        """The whole configuration as YAML, with the notes as comments first; `load_config` gives an equal one back."""
        comments = "".join(f"# {note}\n" for note in notes)
        return comments + yaml.safe_dump(self.to_values(), sort_keys=False, allow_unicode=True)


def load_config(path: str | Path | None = None, overrides: Overrides = ()) -> Config:
    """Read a configuration.

    Args:
        path: A YAML file, or the name of a configuration that comes with kresp3d, such as `base` or
            `paper/synthetic/rgb`; `None` for the defaults alone.
        overrides: Laid over the file in order; a single `a.b=value` string needs no list.

    Raises:
        UsageError: If the file is missing or no YAML, or a key or value is not accepted.

    Examples:
        >>> load_config("base", ["training.epochs=3"]).training.epochs
        3
    """
    values: dict[str, Any] = {} if path is None else _read(find_config(path), ())
    where = "the configuration" if path is None else str(path)
    return parse_config(_overridden(values, overrides), where)


def make_config(source: str | os.PathLike[str] | Config | Mapping[str, Any], overrides: Overrides = ()) -> Config:
    """Make a configuration of what a program has.

    Args:
        source: As `load_config` takes it; or a configuration; or keys and values, laid over the defaults.
        overrides: Laid over it in order.

    Raises:
        UsageError: As `load_config`.
    """
    if isinstance(source, Config):
        return override_config(source, overrides, "the configuration")
    if isinstance(source, Mapping):
        return parse_config(_overridden(_overridden({}, source), overrides), "the configuration")
    check_path(source, "a configuration: a YAML file, a name such as 'base', or keys and values")
    return load_config(os.fspath(source), overrides)


def override_config(config: Config, overrides: Overrides, where: str) -> Config:
    """Lay overrides over a configuration, which is named `where` in errors.

    Raises:
        UsageError: If a key or value is not accepted.
    """
    return parse_config(_overridden(config.to_values(), overrides), where)


def parse_config(values: Mapping[str, Any], where: str) -> Config:
    """Check plain values, named `where` in errors, and make a configuration of them.

    Raises:
        UsageError: If a key or value is not accepted.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{where}: {_explain(error)}") from None


def check_one_host(config: Config, command: str) -> None:
    """Make sure that a command which trains on one host alone is not told to train on several.

    Raises:
        UsageError: If it is.
    """
    if config.training.strategy == "multi_worker":
        raise UsageError(f"training.strategy multi_worker is for `kresp3d train`; {command} trains on one host")


def changed_keys(one: Config, other: Config, besides: Collection[str] = ()) -> list[tuple[str, Any, Any]]:
    """What differs between two configurations: dotted key and both values.

    Args:
        one: A configuration.
        other: Another.
        besides: Keys and sections that are not looked at.
    """
    changed = []
    for key in known_keys():
        mine, yours = value_of(one, key), value_of(other, key)
        is_left_out = any(key == name or key.startswith(f"{name}.") for name in besides)
        if not isinstance(mine, BaseModel) and mine != yours and not is_left_out:
            changed.append((key, mine, yours))
    return changed


def value_of(config: Config, key: str) -> Any:
    """The value of a dotted key; `auto` where it is not settled yet."""
    return AUTO if key in config.auto else functools.reduce(getattr, key.split("."), config)


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    resolved = path.resolve()
    if resolved in seen:
        chain = " -> ".join(str(p) for p in (*seen, resolved))
        raise UsageError(f"configuration files extend each other in a circle: {chain}")
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())[:SHOWN]}") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected keys and values, received {type(values).__name__}")
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise UsageError(f"{path}: 'extends' must be one file or name, received {parent!r}")
    return _merge(_read(find_config(parent, path.parent), (*seen, resolved)), values)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _overridden(values: dict[str, Any], overrides: Overrides) -> dict[str, Any]:
    if not isinstance(overrides, Mapping):
        for override in _override_texts(overrides):
            _apply_override(values, override)
        return values
    for key, value in overrides.items():
        parts = str(key).split(".")
        if not all(parts):
            raise UsageError(f"unknown key {key!r}; expected one such as 'training.epochs'")
        # A path is text, as in YAML.
        nested: Any = os.fspath(value) if isinstance(value, os.PathLike) else value
        for part in reversed(parts):
            nested = {part: nested}
        values = _merge(values, nested)
    return values


def _override_texts(overrides: Any) -> list[str]:
    """Make sure that overrides are text; a single one needs no list."""
    texts = [overrides] if isinstance(overrides, str) else overrides
    if isinstance(texts, bytes) or not isinstance(texts, Iterable):
        raise UsageError(f"expected overrides as keys with values, or as KEY=VALUE strings; received {shown(texts)}")
    texts = list(texts)
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"expected overrides as keys with values, or as KEY=VALUE strings; received {shown(text)}")
    return texts


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UsageError(f"override (--set) {override!r}: expected KEY=VALUE, such as training.epochs=20")
    value = _override_value(parts, text, override)
    for part in parts[:-1]:
        inner = values.get(part)
        # Copied, since a section may be shared with the mapping it was merged from.
        values[part] = dict(inner) if isinstance(inner, Mapping) else {}
        values = values[part]
    values[parts[-1]] = value


def _override_value(parts: list[str], text: str, override: str) -> Any:
    """Read a value as YAML, except that text is taken as it stands: patterns and names may look like anything."""
    kinds = _kinds(parts)
    is_text = str in kinds
    if is_text and type(None) in kinds and text.strip() in ("null", "~", ""):
        return None
    if is_text:
        return text
    try:
        return parse_yaml(text, yaml.BaseLoader if tuple[str, ...] in kinds and text != "null" else yaml.SafeLoader)
    except (yaml.YAMLError, ValueError):
        raise UsageError(f"override (--set) {override!r}: the value is not valid YAML") from None


def _kinds(parts: list[str]) -> set[Any]:
    """The types that a key takes, without what limits their values; none for an unknown key."""
    section: Any = Config
    for part in parts:
        fields = getattr(section, "model_fields", {})
        if part not in fields:
            return set()
        section = fields[part].annotation
    plain = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in get_args(section) or (section,)]
    return set(plain) if get_origin(section) in (Union, UnionType) else {section}


def _explain(error: ValidationError) -> str:
    details = error.errors()
    sentences = [_sentence(detail) for detail in details[:5]]
    if len(details) > 5:
        sentences.append(f"and {len(details) - 5} more")
    return "; ".join(sentences)


def _sentence(detail: Mapping[str, Any]) -> str:
    location = [str(part) for part in detail["loc"]]
    key = ".".join(location)
    if detail["type"] == "extra_forbidden":
        return f"unknown key '{key}'; {nearest_key(key)}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if not key:
        return message
    if key in AUTOMATIC:
        message += f", or {AUTO}"
    return f"'{key}': {message}, received {repr(detail['input'])[:SHOWN]}"


def nearest_key(key: str) -> str:
    """What to say of an unknown key: the known one that was probably meant, or those of its section."""
    section, _, name = key.rpartition(".")
    # Deep keys first, so that of two keys of one name the shallower one is suggested.
    known = sorted(known_keys(), key=lambda key: -key.count("."))
    siblings = [key for key in known if key.rpartition(".")[0] == section]
    for keys in (siblings, known):
        by_name = {key.rpartition(".")[2]: key for key in keys}
        near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.6)
        near = near or [other for other in by_name if name == "".join(word[0] for word in other.split("_"))]
        if near:
            return f"did you mean '{by_name[near[0]]}'?"
    names = ", ".join(key.rpartition(".")[2] for key in siblings)
    return f"{section or 'a configuration'} takes {names}"


def known_keys(section: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    """All keys of the configuration, dotted, sections included."""
    keys: list[str] = []
    for name, field in section.model_fields.items():
        if field.exclude:
            continue
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys.extend(known_keys(field.annotation, f"{prefix}{name}."))
    return keys
