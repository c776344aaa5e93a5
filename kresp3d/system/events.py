"""TensorBoard's event files, for training, evaluation and sweeps.

They are written with TensorBoard's own writer: TensorFlow's would take a GPU's memory in a process that trains nothing.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy.typing as npt

from kresp3d.system.files import written_aside

_PATTERN = "events.out.tfevents.*"


class EventLog:
    """One event file. The folder it is in is what TensorBoard calls a run.

    Args:
        folder: Where it goes; made where it is missing.
        suffix: End of the file's name. Files of the same suffix are deleted: what is logged takes their place. Without
            one, the file stands beside those that are there.
    """

    def __init__(self, folder: Path, suffix: str = "") -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if suffix:
            for old in folder.glob(f"{_PATTERN}.{suffix}"):
                old.unlink()
        self._writer = EventFileWriter(str(folder), filename_suffix=suffix and f".{suffix}")

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a point to a curve."""
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        self._add(step, summary=scalar_pb(tag, float(value)))

    def histogram(self, tag: str, values: npt.ArrayLike, step: int) -> None:
        """Add a histogram of numbers of any shape."""
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb

        self._add(step, summary=histogram_pb(tag, values))

    def picture(self, tag: str, png: bytes, step: int) -> None:
        """Add a picture, an encoded PNG."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.image.metadata import create_summary_metadata
        from tensorboard.util.tensor_util import make_tensor_proto

        # A PNG has its width and height, big-endian, in bytes 16 to 23.
        size = [str(side).encode() for side in struct.unpack(">II", png[16:24])]
        metadata = create_summary_metadata(display_name=None, description=None)
        value = Summary.Value(tag=tag, metadata=metadata, tensor=make_tensor_proto([*size, png]))
        self._add(step, summary=Summary(value=[value]))

    def graph(self, graph_def: bytes) -> None:
        """Add a serialised `GraphDef`."""
        self._add(0, graph_def=graph_def)

    def table(self, keys: Sequence[str], metrics: Mapping[str, str], main: Collection[str] = ()) -> None:
        """Say what the HParams page shows.

        Args:
            keys: The hyperparameters.
            metrics: Tag of a curve -> the name of its column.
            main: The hyperparameters that stand before the others. The page shows the first five of all until the
                others are ticked.
        """
        from tensorboard.plugins.hparams import api
        from tensorboard.plugins.hparams.metadata import create_summary_metadata
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        columns = [api.Metric(tag, display_name=name) for tag, name in metrics.items()]
        summary = api.hparams_config_pb([api.HParam(key) for key in keys], columns)
        metadata = summary.value[0].metadata
        content = HParamsPluginData.FromString(metadata.plugin_data.content)
        for info in content.experiment.hparam_infos:
            # TensorBoard sorts by this mark, then by name.
            info.differs = info.name in main
        metadata.CopyFrom(create_summary_metadata(content))
        self._add(0, summary=summary)

    def hyperparameters(self, name: str, values: Mapping[str, Any]) -> None:
        """Make this TensorBoard run a row of the HParams page.

        Args:
            name: The row's; rows of one name are taken for repetitions of each other.
            values: By hyperparameter. What is no number, truth value or text is shown as text, `None` as YAML's
                `null`; a column of numbers and such a text cannot be sorted.
        """
        from tensorboard.plugins.hparams import api

        plain = {
            key: "null" if v is None else v if isinstance(v, bool | int | float | str) else str(v)
            for key, v in values.items()
        }
        self._add(0, summary=api.hparams_pb(plain, trial_id=name))

    def _add(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, **content))

    def flush(self) -> None:
        """Bring everything to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Bring everything to the disk and end the file."""
        # Closing alone does not say that the disk was full.
        self._writer.flush()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def cut_back(folder: Path, last: int) -> None:
    """Drop what was logged after a step, and what a kill left half written.

    A training that goes on from there logs those steps anew; TensorBoard would show both.

    Args:
        folder: With event files, or none.
        last: The last step that stays.
    """
    from tensorboard.compat.proto.event_pb2 import Event

    for path in sorted(folder.glob(_PATTERN)):
        content = path.read_bytes()
        kept = b"".join(record for record in _whole_records(content) if Event.FromString(record[12:-4]).step <= last)
        if not kept:
            path.unlink()
        elif kept != content:
            with written_aside(path) as temporary:
                temporary.write_bytes(kept)


def _whole_records(content: bytes) -> Iterator[bytes]:
    """Each record as it stands in the file: length (8 bytes), its checksum (4), the event, its checksum (4)."""
    start = 0
    while start + 8 < len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        end = start + 16 + length
        if not length or end > len(content):
            return
        yield content[start:end]
        start = end
