"""Name the action in a video by asking TensorFlow Serving.

python scripts/tf_serving_client.py VIDEO --rest --info saved_models/NAME/1/assets.extra/kresp3d.json
python scripts/tf_serving_client.py VIDEO --grpc --model NAME --fps 15 --short-side 256
"""

from __future__ import annotations

import base64
import http.client
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from kresp3d.runs.network_info import NetworkInfo
from kresp3d.system.errors import KrespError, UsageError
from kresp3d.video.decode import iter_frames
from kresp3d.video.jpeg import encode_jpeg

#: Of the frames that `encoded` sends. Records, from which networks are trained, have the same by default.
JPEG_QUALITY = 90
SIGNATURES = ("encoded", "video", "serving_default")

#: An input of a signature: pixels, or JPEG files by video and frame.
Value = np.ndarray | list[list[bytes]]


@dataclass(frozen=True)
class Answer:
    """What a server gave: scores float `[rows, classes]` and the classes' names."""

    probabilities: np.ndarray
    classes: list[str]


def inputs_for(
    signature: str, video: Path, *, fps: float, short_side: int, info: NetworkInfo | None = None
) -> dict[str, Value]:
    """What a signature takes for a video.

    Args:
        signature: One of `SIGNATURES`.
        video: The video.
        fps: Frames a second that the network was trained with.
        short_side: Pixels to which larger frames are brought; those that the network was trained with.
        info: How clips are cut, for `serving_default` alone: the other signatures cut them on the server.

    Raises:
        UsageError: If `serving_default` is asked without `info`.
        VideoError: If the video cannot be decoded.
    """
    frames = iter_frames(video, fps=fps, short_side=short_side)
    if signature == "encoded":
        return {"jpegs": [[encode_jpeg(frame, JPEG_QUALITY) for frame in frames]]}
    if signature == "video":
        return {"frames": np.stack(list(frames))}
    if info is None:
        raise UsageError(
            "serving_default takes clips, cut on this side: give --info assets.extra/kresp3d.json of the export, or "
            "ask for --signature encoded"
        )
    # TensorFlow is needed here alone.
    from kresp3d.records.video_clips import video_clips

    return {"frames": video_clips(frames, info.clip, clips=info.clips)}


def rest_body(signature: str, inputs: dict[str, Value]) -> bytes:
    """The JSON of a REST request in columns; a JPEG is `{"b64": …}`, pixels are nested lists of numbers."""

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return {"b64": base64.b64encode(value).decode("ascii")}
        return [plain(part) for part in value] if isinstance(value, list) else value.tolist()

    body = {"signature_name": signature, "inputs": {name: plain(value) for name, value in inputs.items()}}
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def grpc_request(model: str, signature: str, inputs: dict[str, Value]) -> Any:
    """The `tensorflow.serving.PredictRequest`."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def ask_rest(host: str, model: str, signature: str, inputs: dict[str, Value], *, timeout: float) -> Answer:
    """Ask over REST.

    Raises:
        KrespError: If the server cannot be reached, refuses the request, or gives something else than an answer.
    """
    url = f"http://{host}/v1/models/{urllib.parse.quote(model, safe='')}:predict"
    request = urllib.request.Request(url, rest_body(signature, inputs), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            text = response.read()
    except urllib.error.HTTPError as error:
        raise KrespError(f"{url} refused the request: {_reason(error.read())} (HTTP {error.code})") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            raise _too_late(host, timeout) from error
        raise KrespError(
            f"TensorFlow Serving does not answer at {host} ({reason}); expected its REST port, see --host"
        ) from error
    try:
        outputs = json.loads(text)["outputs"]
        return Answer(np.asarray(outputs["probabilities"], np.float64), list(outputs["classes"][0]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise KrespError(
            f"{url} gave no 'probabilities' and 'classes'; expected a model that `kresp3d export` wrote"
        ) from error


def _too_late(host: str, timeout: float) -> KrespError:
    return KrespError(
        f"{host} gave no answer within {timeout:g} seconds; wait longer by --timeout, or name another server by --host"
    )


def _reason(text: bytes) -> str:
    """What TensorFlow Serving says is wrong, in one line."""
    try:
        said = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        said = text.decode("utf-8", "replace")
    return " ".join(said.split())[:300] or "no reason given"


def ask_grpc(host: str, model: str, signature: str, inputs: dict[str, Value], *, timeout: float) -> Answer:
    """Ask over gRPC.

    Raises:
        KrespError: If the server cannot be reached, refuses the request, or gives something else than an answer; or if
            tensorflow-serving-api is not installed.
    """
    try:
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc
    except ImportError as error:
        raise KrespError(
            "--grpc needs tensorflow-serving-api; install it with: pip install 'kresp3d[serving]'"
        ) from error
    import tensorflow as tf

    request = grpc_request(model, signature, inputs)
    with grpc.insecure_channel(host) as channel:
        try:
            response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=timeout)
        except grpc.RpcError as error:
            reason = " ".join(str(error.details()).split())[:300]
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise _too_late(host, timeout) from error
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                raise KrespError(
                    f"TensorFlow Serving does not answer at {host} ({reason}); expected its gRPC port, see --host"
                ) from error
            raise KrespError(f"{host}, model {model}, refused the request: {reason} ({error.code().name})") from error
    try:
        probabilities = tf.make_ndarray(response.outputs["probabilities"])
        classes = [name.decode("utf-8") for name in tf.make_ndarray(response.outputs["classes"])[0]]
    except (TypeError, ValueError, IndexError) as error:
        raise KrespError(
            f"{host}, model {model}, gave no 'probabilities' and 'classes'; expected one that `kresp3d export` wrote"
        ) from error
    return Answer(probabilities.astype(np.float64), classes)


def table(answer: Answer, top: int) -> str:
    """The best classes, a line each; the scores of several rows (clips) are averaged."""
    scores = answer.probabilities.mean(axis=0)
    best = np.argsort(-scores, kind="stable")[:top]
    width = max(len(answer.classes[i]) for i in best)
    return "\n".join(f"{answer.classes[i]:<{width}}  {scores[i]:7.2%}" for i in best)


@click.command()
@click.argument("video", type=click.Path(path_type=Path))
@click.option("--rest/--grpc", "rest", default=True, show_default=True, help="The way to the server.")
@click.option("--host", metavar="HOST:PORT", help="The server.  [default: localhost:8501, or :8500 with --grpc]")
@click.option("--model", help="The model's name on the server.  [default: the name in --info]")
@click.option("--signature", type=click.Choice(SIGNATURES), default="encoded", show_default=True, help="What is sent.")
@click.option("--info", "info_file", type=click.Path(path_type=Path), help="The export's assets.extra/kresp3d.json.")
@click.option("--fps", type=float, help="Frames a second that are sent.  [default: those in --info, or 15]")
@click.option("--short-side", type=int, help="Largest short side of a frame.  [default: that in --info, or 256]")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes shown.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds to wait for the answer.",
)
def command(
    video: Path,
    rest: bool,
    host: str | None,
    model: str | None,
    signature: str,
    info_file: Path | None,
    fps: float | None,
    short_side: int | None,
    top: int,
    timeout: float,
) -> None:
    """Name the action in VIDEO by asking TensorFlow Serving.

    `encoded` sends the frames as JPEG files, `video` as pixels, and `serving_default` sends clips that are cut here.
    """
    info = None if info_file is None else _read_info(info_file)
    model = model or (info and info.name)
    if model is None:
        raise UsageError(
            "no model is named: give --model NAME, or --info saved_models/NAME/1/assets.extra/kresp3d.json"
        )
    if fps is None:
        fps = info.clip.fps if info else 15.0
    if short_side is None:
        short_side = info.clip.short_side if info else 256
    inputs = inputs_for(signature, video, fps=fps, short_side=short_side, info=info)
    ask, default = (ask_rest, "localhost:8501") if rest else (ask_grpc, "localhost:8500")
    click.echo(table(ask(host or default, model, signature, inputs, timeout=timeout), top))


def _read_info(path: Path) -> NetworkInfo:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise KrespError(f"{path} cannot be read ({error.strerror}); expected an export's kresp3d.json") from error
    return NetworkInfo.from_text(text, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and say in one sentence what went wrong, if anything did."""
    try:
        command.main(arguments, prog_name="tf_serving_client.py", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Abort:
        return 130
    except KrespError as error:
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    from kresp3d.system.quiet import quieten

    quieten()
    sys.exit(main())
