"""The client for TensorFlow Serving, over both wires.

The servers here speak TensorFlow Serving's protocols and run the exported SavedModel, so what the client sends is what
the graph takes. The last tests ask a real server, where there is one.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kresp3d.export.saved_model import write_saved_model
from kresp3d.inference.keras_engine import load_network, network_info
from kresp3d.inference.predictor import video_probabilities
from kresp3d.inference.saved_model_engine import SavedModelEngine
from kresp3d.runs.network_info import NetworkInfo
from kresp3d.runs.run_folder import RunFolder
from kresp3d.system.errors import KrespError, UsageError

NEEDED = "needs tensorflow-serving-api (pip install 'kresp3d[serving]')"
SIGNATURES = ("encoded", "video", "serving_default")


def load_script():
    path = Path(__file__).parents[2] / "scripts" / "tf_serving_client.py"
    spec = importlib.util.spec_from_file_location("tf_serving_client", path)
    module = importlib.util.module_from_spec(spec)
    # Its dataclass looks its module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


client = load_script()


@pytest.fixture(scope="module", autouse=True)
def no_proxy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "localhost,127.0.0.1")
        yield


@pytest.fixture(scope="module")
def folder(trained_run, tmp_path_factory):
    run, folder = RunFolder.open(trained_run), tmp_path_factory.mktemp("saved") / "tiny" / "1"
    write_saved_model(load_network(run), network_info(run), folder)
    return folder


@pytest.fixture(scope="module")
def info_file(folder):
    return folder / "assets.extra" / "kresp3d.json"


@pytest.fixture(scope="module")
def signatures(folder):
    return tf.saved_model.load(str(folder)).signatures


@pytest.fixture(scope="module")
def video(make_video, tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4", frames=25, fps=25, size=(64, 48))


@pytest.fixture(scope="module")
def scores(folder, video):
    """What prediction gives for the video."""
    engine = SavedModelEngine(folder)
    return video_probabilities(engine, video, clips=engine.info.clips)


def decode_json(value):
    """JSON of a REST request's tensor as Python values; `{"b64": …}` is bytes."""
    if isinstance(value, dict):
        assert list(value) == ["b64"]
        return base64.b64decode(value["b64"], validate=True)
    return [decode_json(part) for part in value] if isinstance(value, list) else value


class Rest(BaseHTTPRequestHandler):
    """TensorFlow Serving's `POST /v1/models/NAME:predict` in columns, for one model named `tiny`."""

    signatures: dict

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/models/tiny:predict":
            name = self.path.removeprefix("/v1/models/").removesuffix(":predict")
            return self.answer(404, {"error": f"Servable not found for request: Latest({name})"})
        name = body.get("signature_name", "serving_default")
        if name not in self.signatures:
            return self.answer(400, {"error": f'Serving signature name: "{name}" not found in signature def'})
        signature = self.signatures[name]
        specs = signature.structured_input_signature[1]
        try:
            assert body["inputs"].keys() == specs.keys()
            inputs = {k: tf.constant(decode_json(v), specs[k].dtype) for k, v in body["inputs"].items()}
            outputs = signature(**inputs)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            return self.answer(400, {"error": str(error)})
        plain = {
            "probabilities": outputs["probabilities"].numpy().tolist(),
            "classes": [[name.decode() for name in row] for row in outputs["classes"].numpy().tolist()],
        }
        return self.answer(200, {"outputs": plain})

    def answer(self, code, values):
        text = json.dumps(values).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(handler):
    """A local HTTP server; gives its `host:port`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def rest_host(signatures):
    with served(type("Tiny", (Rest,), {"signatures": signatures})) as host:
        yield host


@pytest.fixture(scope="module")
def grpc_host(signatures):
    """TensorFlow Serving's PredictionService for one model named `tiny`; gives its `host:port`."""
    pytest.importorskip("tensorflow_serving.apis", reason=NEEDED)
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802 (gRPC's name)
            spec = request.model_spec
            if spec.name != "tiny":
                context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({spec.name})")
            if spec.signature_name not in signatures:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, f'Signature "{spec.signature_name}" not found.')
            inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
            response = predict_pb2.PredictResponse()
            for name, value in signatures[spec.signature_name](**inputs).items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
            return response

    server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", -1)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


def inputs_for(signature, video, info_file):
    info = NetworkInfo.from_text(info_file.read_text(), info_file)
    return client.inputs_for(signature, video, fps=15.0, short_side=32, info=info)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_the_rest_body_holds_tensors_that_the_signature_takes(signature, video, info_file, signatures, scores):
    body = json.loads(client.rest_body(signature, inputs_for(signature, video, info_file)))
    assert body.keys() == {"signature_name", "inputs"}
    assert body["signature_name"] == signature
    specs = signatures[signature].structured_input_signature[1]
    inputs = {name: tf.constant(decode_json(value), specs[name].dtype) for name, value in body["inputs"].items()}
    found = signatures[signature](**inputs)["probabilities"].numpy().mean(axis=0)
    # JPEG costs a little.
    np.testing.assert_allclose(found, scores, atol=0.05 if signature == "encoded" else 1e-6)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_the_grpc_request_holds_tensors_that_the_signature_takes(signature, video, info_file, signatures, scores):
    predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2", reason=NEEDED)
    sent = client.grpc_request("tiny", signature, inputs_for(signature, video, info_file)).SerializeToString()
    request = predict_pb2.PredictRequest.FromString(sent)
    assert (request.model_spec.name, request.model_spec.signature_name) == ("tiny", signature)
    inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
    found = signatures[signature](**inputs)["probabilities"].numpy().mean(axis=0)
    np.testing.assert_allclose(found, scores, atol=0.05 if signature == "encoded" else 1e-6)


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_the_answer_over_the_wire_is_that_of_prediction(way, signature, video, info_file, scores, request, capsys):
    host = request.getfixturevalue(f"{way}_host")
    arguments = [str(video), f"--{way}", "--host", host, "--signature", signature, "--info", str(info_file)]
    assert client.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {line.split()[0]: float(line.split()[1].rstrip("%")) / 100 for line in lines}
    expected = dict(zip(["bend", "jump", "walk"], scores, strict=True))
    assert found == pytest.approx(expected, abs=0.05 if signature == "encoded" else 1e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_without_a_description_rate_size_and_name_are_options(way, video, request, capsys):
    host = request.getfixturevalue(f"{way}_host")
    arguments = [str(video), f"--{way}", "--host", host, "--model", "tiny", "--fps", "15", "--short-side", "32"]
    assert client.main([*arguments, "--top", "1"]) == 0
    assert re.fullmatch(r"(bend|jump|walk)  +\d+\.\d\d%\n", capsys.readouterr().out)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_model_that_is_not_served_is_named(way, video, request, capsys):
    host = request.getfixturevalue(f"{way}_host")
    assert client.main([str(video), f"--{way}", "--host", host, "--model", "absent"]) == 1
    said = capsys.readouterr().err
    assert "refused the request: Servable not found for request: Latest(absent)" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_signature_that_the_model_lacks_is_named(way, video, info_file, request):
    host = request.getfixturevalue(f"{way}_host")
    ask = getattr(client, f"ask_{way}")
    with pytest.raises(KrespError, match=r"refused the request: .*\"other\" not found"):
        ask(host, "tiny", "other", inputs_for("encoded", video, info_file), timeout=20)


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_server_that_does_not_answer_is_named(way, video, capsys):
    if way == "grpc":
        pytest.importorskip("tensorflow_serving.apis", reason=NEEDED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
        assert client.main([str(video), f"--{way}", "--host", host, "--model", "tiny", "--timeout", "10"]) == 1
    said = capsys.readouterr().err
    assert f"TensorFlow Serving does not answer at {host}" in said
    assert "--host" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_a_server_that_is_slow_is_told_from_one_that_is_not_there(way, video, capsys):
    if way == "grpc":
        pytest.importorskip("tensorflow_serving.apis", reason=NEEDED)
    # It takes the connection and says nothing.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        assert client.main([str(video), f"--{way}", "--host", host, "--model", "tiny", "--timeout", "0.5"]) == 1
    said = capsys.readouterr().err
    assert f"{host} gave no answer within 0.5 seconds; wait longer by --timeout" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("answer", ["{}", "<html>", '{"outputs": {"probabilities": [[1.0]]}}', "[1]"])
def test_another_servers_answer_is_refused(answer, video):
    class Other(Rest):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

    with served(Other) as host, pytest.raises(KrespError, match="gave no 'probabilities' and 'classes'"):
        client.ask_rest(host, "tiny", "encoded", {"jpegs": [[b"x"]]}, timeout=20)


def test_clips_cannot_be_cut_without_the_description(video):
    with pytest.raises(UsageError, match="serving_default takes clips, cut on this side: give --info"):
        client.inputs_for("serving_default", video, fps=15, short_side=32)


def test_wrong_usage_is_one_sentence(video, tmp_path, capsys):
    assert client.main([str(video)]) == 2
    assert "no model is named" in capsys.readouterr().err
    assert client.main([str(tmp_path / "none.mp4"), "--model", "tiny"]) == 1
    assert "file not found" in capsys.readouterr().err
    assert client.main([str(video), "--info", str(tmp_path / "none.json")]) == 1
    assert "expected an export's kresp3d.json" in capsys.readouterr().err
    assert client.main([str(video), "--signature", "other"]) == 2
    capsys.readouterr()
    assert client.main([str(video), "--model", "tiny", "--fps", "0"]) == 2
    assert "fps must be a positive number" in capsys.readouterr().err
    assert client.main([str(video), "--model", "tiny", "--timeout", "-1"]) == 2
    assert "-1.0 is not in the range x>0" in capsys.readouterr().err


def test_without_the_package_grpc_names_the_extra(video, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    for name in [name for name in sys.modules if name.startswith("tensorflow_serving.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(KrespError, match=r"pip install 'kresp3d\[serving\]'"):
        client.ask_grpc("127.0.0.1:1", "tiny", "encoded", {"jpegs": [[b"x"]]}, timeout=1)


@pytest.fixture(scope="module")
def real_server(folder, free_port):
    """Ways, addresses and model of a real TensorFlow Serving: `[(way, host:port)], model`."""
    address = os.environ.get("KRESP3D_TF_SERVING")
    if address:
        yield [("rest", address)], os.environ.get("KRESP3D_TF_SERVING_MODEL", "tiny")
        return
    program = shutil.which("tensorflow_model_server")
    if program is None:
        pytest.skip(
            "asks a real TensorFlow Serving: put tensorflow_model_server on PATH, or set KRESP3D_TF_SERVING=host:port "
            "(its REST port; KRESP3D_TF_SERVING_MODEL names the model)"
        )
    pytest.importorskip("tensorflow_serving.apis", reason=NEEDED)
    rest, grpc = free_port(), free_port()
    words = [f"--port={grpc}", f"--rest_api_port={rest}", "--model_name=tiny", f"--model_base_path={folder.parent}"]
    server = subprocess.Popen([program, *words])
    try:
        state = f"http://127.0.0.1:{rest}/v1/models/tiny"
        for _ in range(120):
            with contextlib.suppress(OSError), urllib.request.urlopen(state, timeout=5) as response:
                if b"AVAILABLE" in response.read():
                    break
            assert server.poll() is None, "tensorflow_model_server ended"
            time.sleep(0.5)
        yield [("rest", f"127.0.0.1:{rest}"), ("grpc", f"127.0.0.1:{grpc}")], "tiny"
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.parametrize("signature", ["encoded", "video"])
def test_a_real_server_gives_the_scores_of_prediction(real_server, signature, video, info_file, scores):
    ways, model = real_server
    for way, host in ways:
        inputs = inputs_for(signature, video, info_file)
        answer = getattr(client, f"ask_{way}")(host, model, signature, inputs, timeout=60)
        np.testing.assert_allclose(answer.probabilities.sum(axis=1), [1.0], rtol=1e-4)
        assert answer.probabilities.shape == (1, len(answer.classes))
        # A server of the user's own serves another network.
        if "KRESP3D_TF_SERVING" not in os.environ:
            np.testing.assert_allclose(answer.probabilities[0], scores, atol=0.05 if signature == "encoded" else 1e-5)
