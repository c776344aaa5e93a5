"""From a trained run to the beginning of one that compresses its network.

RUN/model.keras ── what the method begins with ──▶ RUN2/start.keras ── trained on, compressed ──▶ RUN2/model.keras
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import yaml

from kresp3d.api.compression_report import note_before
from kresp3d.compression.kernels import choose_kernels
from kresp3d.compression.quantization import begin_quantization
from kresp3d.config.schema import (
    CompressConfig,
    Config,
    Method,
    changed_keys,
    check_one_host,
    override_config,
    parse_config,
)
from kresp3d.export.calibration import calibration_frames
from kresp3d.inference.keras_engine import load_network
from kresp3d.nn.transforms import fold, slim
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import UsageError
from kresp3d.system.files import written_aside

#: Methods after which there is no other: their values would be trained apart.
LAST = ("cluster", "qat")

#: The keys under `compress` that each method uses.
KEYS: dict[Method, tuple[str, ...]] = {
    "prune": ("layers", "sparsity", "schedule", "ramp", "block"),
    "prune-2x4": ("layers",),
    "cluster": ("layers", "clusters"),
    "slim": ("width",),
    "qat": (),
}

#: What a run that compresses may have otherwise than the run whose network it begins with.
FREE = ("name", "seed", "training", "compress", "clip.augment", "clip.per_video", "evaluation", "tune", "data.memory")


def compress_config(source: RunFolder, method: Method, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a run that compresses another one's network.

    That of the other run with a shorter training at a lower rate, and `overrides` over it.

    Args:
        source: The run whose network is compressed.
        method: How.
        overrides: `a.b=value` strings, values in YAML.

    Raises:
        UsageError: If the method has been used on the network already, cannot take it, or an override is not accepted.
    """
    config = source.config
    last = config.compress.method
    if last in LAST:
        raise UsageError(
            f"{source.path} is the result of {last}, which comes last: a further training would undo it; compress the "
            "run it was made of"
        )
    if method == "slim" and last == "prune-2x4":
        raise UsageError(f"{source.path} has two of every four inputs at zero, which slim would break up; slim first")
    if method in config.compress.methods:
        raise UsageError(
            f"{source.path} is the result of {method} already; compress the run it was made of with other settings, "
            "or use another method on this one"
        )
    if method == "qat" and config.model.variant == "full3d":
        raise UsageError(f"{source.path} is a full3d network, whose 3D convolutions have no int8 form; qat needs p3d")
    values = config.to_values()
    values["name"] = f"{config.name}-{method}"
    values["compress"] = {**CompressConfig().model_dump(mode="json"), "methods": [*config.compress.methods, method]}
    values["training"].update(fine_tuning(config, method))
    begun = override_config(parse_config(values, str(source.config_file)), overrides, "the options")
    _check(source, begun, (*config.compress.methods, method))
    return begun


def fine_tuning(config: Config, method: Method) -> dict[str, object]:
    """The keys of `training` that differ where a trained network is trained on."""
    training = config.training
    return {
        "precision": "float32" if method == "qat" else training.precision,
        "gradient_checkpointing": training.gradient_checkpointing and method not in LAST,
        "strategy": "auto" if training.strategy == "multi_worker" else training.strategy,
        "epochs": max(1, math.ceil(training.epochs / 2)),
        "learning_rate": training.learning_rate / 4,
        "warmup_epochs": min(1.0, training.warmup_epochs),
        # The last epoch is the one that is compressed most.
        "keep": "last",
        "early_stop": None,
        "profile": None,
    }


def _check(source: RunFolder, config: Config, methods: tuple[Method, ...]) -> None:
    if config.compress.methods != methods:
        raise UsageError("compress.methods is set by --method alone")
    changed = changed_keys(source.config, config, besides=FREE)
    if changed:
        key, *values = changed[0]
        mine, other = (yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip() for value in values)
        raise UsageError(f"{key} is {mine} in {source.path}, whose network is to be compressed; received {other}")
    own = KEYS[methods[-1]]
    for name in CompressConfig.model_fields.keys() - {"methods", *own}:
        if getattr(config.compress, name) != getattr(CompressConfig(), name):
            used = f"uses {', '.join(f'compress.{each}' for each in own)}" if own else "uses nothing under compress"
            raise UsageError(f"compress.{name} has no effect on {methods[-1]}, which {used}")
    training, compress = config.training, config.compress
    precision = "float32" if compress.method == "qat" else source.config.training.precision
    if training.precision != precision:
        why = "qat rounds in float32" if compress.method == "qat" else f"the network of {source.path} has it"
        raise UsageError(f"training.precision must be {precision}, since {why}; received {training.precision}")
    if training.gradient_checkpointing and compress.method in LAST:
        raise UsageError(
            f"training.gradient_checkpointing would compute anew with other kernels than {compress.method} computes "
            "with; set it to false"
        )
    check_one_host(config, "compress")
    rises = compress.method == "prune" and compress.schedule == "polynomial"
    if rises and (training.keep == "best" or training.early_stop is not None):
        raise UsageError(
            "prune makes a network sparser from epoch to epoch, so the last one has to be kept: set training.keep to "
            "last and training.early_stop to null, or compress.schedule to constant"
        )


def load_source(source: RunFolder, config: Config) -> keras.Model:
    """Load the network of a run, and make sure that it can be compressed; changes nothing.

    Args:
        source: The run.
        config: What `compress_config` gave.

    Raises:
        KrespError: If there is no network, or no training videos are at hand.
        UsageError: If the network cannot be compressed as the configuration says.
    """
    source.records("train")
    network = load_network(source)
    chosen = choose_kernels(network, config.compress.layers)
    rows, columns = config.compress.block
    for kernel in chosen if config.compress.method == "prune" and (rows, columns) != (1, 1) else ():
        inputs, outputs = kernel.size // kernel.variable.shape[-1], kernel.variable.shape[-1]
        if inputs <= rows or outputs <= columns:
            raise UsageError(
                f"compress.block {rows}×{columns} is no part of the kernel of {kernel.name}, which has {inputs} inputs "
                f"of {outputs} outputs; use a smaller block, or leave the layer out of compress.layers"
            )
    deep = [kernel.name for kernel in chosen if len(kernel.variable.shape) == 5]
    if config.compress.method == "prune-2x4" and deep:
        raise UsageError(f"prune-2x4 is for 2D kernels, and that of {deep[0]} is a 3D one; leave it out, or use prune")
    return network


def check_source(run: RunFolder, source: RunFolder) -> None:
    """Make sure that a run which is resumed was begun with the network of `source`.

    Raises:
        UsageError: If it was not.
    """
    begun = run.environment.get("source") if run.has_data else None
    if begun is not None and begun != str(source.path.resolve()):
        raise UsageError(f"{run.path} compresses the network of {begun}, not of {source.path}; give another --out")


def begin(source: RunFolder, run: RunFolder, network: keras.Model) -> None:
    """Put into a run, which has its configuration, what its training begins with.

    Args:
        source: The run whose network is compressed.
        run: The run that compresses it.
        network: What `load_source` gave.

    Raises:
        KrespError: If the disk is full, or the records are gone or damaged.
    """
    note_before(source, run, network)
    method = run.config.compress.method
    if method == "qat":
        network = begin_quantization(network, calibration_frames(source))
    elif method == "slim":
        network = slim(network, run.config.compress.width, calibration_frames(source))
    elif method == "cluster":
        network = fold(network)
    with run.disk_errors():
        run.write_data_of(source)
        with written_aside(run.start_file) as temporary:
            network.save(temporary)
