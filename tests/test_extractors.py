"The classic features have the benchmark's shapes and preprocessing, and their weights come safely or not at all."
import http.server, subprocess, sys, threading
from hashlib import sha256

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision"), pytest.importorskip("av")
from valor_lab.harvest import extractors as E
from valor_lab.core import ParameterError
from valor_lab.core import FetchError
from valor_lab.media import MediaError, write_clip

RNG = np.random.default_rng(0)


def random_state(network, seed=0):
    "A state dict with the names and shapes of `network`, made quickly."
    with torch.device("meta"): state = network().state_dict()
    g = torch.Generator().manual_seed(seed)
    make = lambda k, v: (torch.rand(v.shape, generator=g) + .5 if k.endswith(("running_var", "bn.weight")) or "bn" in k
                         and k.endswith("weight") else
                         torch.randn(v.shape, generator=g)*(2/max(1, v[0].numel() if v.ndim > 1 else 1e3))**.5 if v.is_floating_point()
                         else torch.zeros(v.shape, dtype=v.dtype))
    return {k: make(k, v) for k, v in state.items()}


@pytest.fixture(scope="module")
def vggish(): return E.VGGish(random_state(E.VGG))


@pytest.fixture(scope="module")
def motion(): return E.R2Plus1D18(random_state(lambda: E.import_torchvision().models.video.r2plus1d_18()), batch=1)


# VGGish

def test_mel_bands_are_the_htk_triangles():
    mel = lambda f: 1127*np.log(1 + f/700)
    bands, edges = E.mel_bands(), np.linspace(mel(125.), mel(7500.), 66)
    assert bands.shape == (257, 64)
    for k in RNG.integers(1, 257, 40):
        at = mel(k*8000/256)
        for b in range(64):
            low, centre, high = edges[b:b + 3]
            assert bands[k, b] == pytest.approx(max(0, min((at - low)/(centre - low), (high - at)/(high - centre))), abs=1e-9)
    assert not bands[0].any()


def test_log_mel_of_a_second_step_by_step():
    x = RNG.standard_normal(16_000).astype(np.float32)
    got = E.vggish_mel(x)
    assert got.shape == (98, 64)
    for step in (0, 41, 97):
        window = x[160*step:160*step + 400]*(.5 - .5*np.cos(2*np.pi*np.arange(400)/400))
        spectrum = np.abs(np.fft.fft(np.pad(window, (0, 112)))[:257])
        assert np.allclose(got[step], np.log(spectrum @ E.mel_bands() + .01))


def test_each_second_gives_its_first_96_steps():
    x = RNG.standard_normal(160_000).astype(np.float32)
    examples = E.vggish_examples(x)
    assert [e.shape for e in examples] == [(1, 96, 64)]*10
    for s in (0, 4, 9): assert np.allclose(examples[s][0], E.vggish_mel(x[16_000*s:16_000*(s + 1)])[:96], atol=1e-6)


@pytest.mark.parametrize("samples, counts", [(160_000, 1), (3, 1), (160_123, 1), (80_000, 1), (640_000, 4)])
def test_any_duration_is_cut_into_ten_parts(vggish, samples, counts):
    x = np.zeros(samples, np.float32)
    assert {len(e) for e in E.vggish_examples(x)} == {counts}
    if samples < 10_000: assert vggish(x).shape == (10, 128)


def test_vggish_forward_is_the_plain_formula(vggish):
    x = RNG.standard_normal((2, 96, 64)).astype(np.float32)
    state, y = vggish.model.state_dict(), torch.from_numpy(x)[:, None]
    for k, pool in ((0, True), (3, True), (6, False), (8, True), (11, False), (13, True)):
        y = torch.relu(torch.nn.functional.conv2d(y, state[f"features.{k}.weight"], state[f"features.{k}.bias"], padding=1))
        if pool: y = torch.nn.functional.max_pool2d(y, 2)
    y = torch.stack([torch.stack([y[:, :, h, w] for w in range(4)], 1) for h in range(6)], 1).reshape(2, -1)   # row, column, channel
    for k in (0, 2, 4): y = torch.relu(y @ state[f"embeddings.{k}.weight"].T + state[f"embeddings.{k}.bias"])
    assert np.allclose(vggish.forward(list(torch.from_numpy(x))), y.numpy(), rtol=1e-4, atol=1e-5) and y.max() > 0


def test_vggish_names_are_those_of_the_common_port():
    with torch.device("meta"): shapes = {k: tuple(v.shape) for k, v in E.VGG().state_dict().items()}
    assert shapes == {f"{k}.{p}": s for k, w in {
        "features.0": (64, 1, 3, 3), "features.3": (128, 64, 3, 3), "features.6": (256, 128, 3, 3), "features.8": (256, 256, 3, 3),
        "features.11": (512, 256, 3, 3),
        "features.13": (512, 512, 3, 3), "embeddings.0": (4096, 12288), "embeddings.2": (4096, 4096), "embeddings.4": (128, 4096)}.items()
        for p, s in (("weight", w), ("bias", w[:1]))}


def test_vggish_is_the_same_alone_and_in_a_batch_and_the_same_twice(vggish):
    x = np.tile(RNG.standard_normal(16_000).astype(np.float32), 10)
    many = vggish(x)
    assert many.dtype == np.float32 and np.allclose(many, many[:1], atol=1e-5) and np.array_equal(many, vggish(x))
    vggish.batch, before = 1, vggish.batch
    assert np.allclose(vggish(x), many, atol=1e-5)
    vggish.batch = before


@pytest.mark.parametrize("bad", [np.zeros(0, np.float32), np.zeros((2, 5), np.float32), np.array([0, np.nan], np.float32)])
def test_bad_sound_is_refused(vggish, bad):
    with pytest.raises(ParameterError, match="finite samples"): vggish(bad)


# pictures

def test_resnet_on_disk_and_in_memory_with_the_benchmarks_preprocessing(tmp_path):
    "The only test that builds the 60 M parameters: loading from a file, preprocessing, shape, fingerprint."
    from PIL import Image
    from safetensors.torch import save_file
    state = random_state(lambda: E.import_torchvision().models.resnet152())
    save_file(state, tmp_path/"resnet.safetensors")
    resnet = E.ResNet152(tmp_path/"resnet.safetensors", batch=1)
    frame = RNG.integers(0, 255, (90, 120, 3), np.uint8)
    image = Image.fromarray(frame).resize((341, 256), Image.BILINEAR).crop((58, 16, 58 + 224, 16 + 224))
    x = (np.asarray(image, np.float32)/255 - [.485, .456, .406])/[.229, .224, .225]
    seen = []
    resnet.model.conv1.register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    features = resnet(np.stack([frame, frame]))
    assert (features.shape == (2, 2048) and features.dtype == np.float32
            and np.array_equal(features[0], features[1]) and np.isfinite(features).all())
    assert np.allclose(seen[0][0].permute(1, 2, 0), x, atol=1e-5)
    assert resnet.fingerprint == E.ResNet152(state).fingerprint
    state["conv1.weight"] = state["conv1.weight"] + 1
    assert resnet.fingerprint != E.ResNet152(state).fingerprint


def test_motion_takes_runs_of_eight_squashed_pictures(motion):
    frames = RNG.integers(0, 255, (16, 60, 80, 3), np.uint8)
    seen = []
    handle = motion.model.stem.register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    features = motion(frames)
    handle.remove()
    assert features.shape == (2, 512) and [s.shape for s in seen] == [(1, 3, 8, 112, 112)]*2
    from PIL import Image
    ninth = (np.asarray(Image.fromarray(frames[9]).resize((112, 112), Image.BILINEAR),
                        np.float32)/255 - [.43216, .394666, .37645])/[.22803, .22145, .216989]
    assert np.allclose(seen[1][0, :, 1].permute(1, 2, 0), ninth, atol=1e-5)
    alone = motion(frames[8:])
    assert np.allclose(alone[0], features[1], atol=1e-5)


@pytest.mark.parametrize("bad", [np.zeros((8, 4, 4, 3), np.float32), np.zeros((9, 4, 4, 3), np.uint8), np.zeros((0, 4, 4, 3), np.uint8),
                                 np.zeros((8, 4, 4), np.uint8), None])
def test_bad_pictures_are_refused(motion, bad):
    with pytest.raises(ParameterError, match="expected pictures"): motion(bad)


# files

class Count:
    "An extractor that only counts."
    name, modality = "count", "visual"
    def __call__(self, frames): return np.array([len(frames)])


def test_one_decoding_gives_the_features_of_a_file(tmp_path, vggish, motion):
    frames, sound = RNG.integers(0, 255, (60, 32, 32, 3), np.uint8), (.1*RNG.standard_normal(5*48_000)).astype(np.float32)
    both = E.extract(write_clip(tmp_path/"both.mp4", frames, sound, fps=12), [vggish, motion, Count()])
    assert {k: v.shape for k, v in both.items()} == {"vggish": (10, 128), "r2plus1d_18": (10, 512), "count": (1,)} and both["count"] == 80
    mute = write_clip(tmp_path/"mute.mp4", frames, None, fps=12)
    assert list(E.extract(mute, [vggish, Count()])) == ["count"]
    with pytest.raises(MediaError, match="no audio stream"): E.extract(mute, [vggish])
    data = (tmp_path/"both.mp4").read_bytes()
    (tmp_path/"cut.mp4").write_bytes(data[:len(data)//2])
    with pytest.raises(MediaError, match="truncated"): E.extract(tmp_path/"cut.mp4", [vggish])


def test_extractors_are_named_by_their_folders():
    assert {k: e.shape for k, e in E.EXTRACTORS.items()} == {"vggish": (10, 128), "res152": (80, 2048), "r2plus1d_18": (10, 512)}
    assert {k: e.modality for k, e in E.EXTRACTORS.items()} == {"vggish": "audio", "res152": "visual", "r2plus1d_18": "visual"}


# weights

def test_wrong_weights_are_refused_by_name(tmp_path):
    with pytest.raises(ParameterError, match="do not fit VGGish.*features.0.weight"): E.VGGish({"fc.weight": torch.zeros(2, 2)})
    with pytest.raises(ParameterError, match="no such file"): E.VGGish(tmp_path/"nothing.pth")


def test_pickled_code_in_weights_is_refused(tmp_path):
    class Evil:
        def __reduce__(self): return (tmp_path/"touched").touch, ()
    torch.save({"features.0.weight": Evil()}, tmp_path/"evil.pth")
    with pytest.raises(ParameterError): E.VGGish(tmp_path/"evil.pth")
    assert not (tmp_path/"touched").exists()


def test_weights_from_a_pth_file_are_the_same_as_from_memory(tmp_path, motion):
    state = random_state(lambda: E.import_torchvision().models.video.r2plus1d_18())
    torch.save(state, tmp_path/"r2plus1d.pth")
    assert E.R2Plus1D18(tmp_path/"r2plus1d.pth").fingerprint == motion.fingerprint


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    "A data folder of our own, and an empty torch cache."
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path)), monkeypatch.setenv("TORCH_HOME", str(tmp_path/"torch"))
    monkeypatch.delenv("VALOR_TEST_DATA", raising=False)
    return tmp_path


def test_without_a_network_the_message_says_everything(somewhere):
    with pytest.raises(FetchError) as e: E.fetch_weights("http://127.0.0.1:9/resnet152-394f9c45.pth")
    for part in ("resnet152-394f9c45.pth", "http://127.0.0.1:9/", str(somewhere/"data"/"weights"), "weights=PATH"):
        assert part in str(e.value)


@pytest.fixture
def publisher(tmp_path):
    "A server on this machine with one file."
    content = b"weights"
    (tmp_path/"served").mkdir()
    (tmp_path/"served"/f"net-{sha256(content).hexdigest()[:8]}.pth").write_bytes(content)
    (tmp_path/"served"/"net-00000000.pth").write_bytes(content)
    handler = lambda *a: http.server.SimpleHTTPRequestHandler(*a, directory=str(tmp_path/"served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_download_is_checked_against_its_name_and_kept(somewhere, publisher):
    name = f"net-{sha256(b'weights').hexdigest()[:8]}.pth"
    path = E.fetch_weights(f"{publisher}/{name}")
    assert path == somewhere/"data"/"weights"/name and path.read_bytes() == b"weights"
    assert E.fetch_weights(f"http://127.0.0.1:9/{name}") == path                 # now it is here
    with pytest.raises(FetchError, match="expected 00000000"): E.fetch_weights(f"{publisher}/net-00000000.pth")
    assert not (somewhere/"data"/"weights"/"net-00000000.pth").exists()
    with pytest.raises(FetchError, match="net-missing.pth"): E.fetch_weights(f"{publisher}/net-missing.pth")


def test_a_file_in_torchs_cache_is_used(somewhere):
    cached = somewhere/"torch"/"hub"/"checkpoints"/"net-12345678.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"x")
    assert E.fetch_weights("http://127.0.0.1:9/net-12345678.pth") == cached


def test_torchvision_is_imported_beside_a_torch_without_its_operators(tmp_path):
    "A stand-in that fails like torchvision for CUDA does until the two operators are declared."
    (tmp_path/"torchvision").mkdir()
    (tmp_path/"torchvision"/"__init__.py").write_text(
        "import torch\n"
        "from . import part\n"
        "try: torch.ops.torchvision.nms\n"
        "except AttributeError: raise RuntimeError('operator torchvision::nms does not exist') from None\n"
        "torch.ops.torchvision.qnms\n"
        "models = 'models'\n")
    (tmp_path/"torchvision"/"part.py").write_text("")
    code = (f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from valor_lab.harvest import import_torchvision as i; "
            "assert i().models == 'models'; assert i().models == 'models'")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
