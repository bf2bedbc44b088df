"""The teachers: what they refuse, what they compute, and that the real networks load from local files without a network."""
import contextlib, json, socket, sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
from safetensors.torch import save_file

import valor_lab.harvest as T
from valor_lab.harvest import clip as room_of_clip
from valor_lab.core import ParameterError

SMALL = dict(embed_dim=32, vision_cfg=dict(image_size=32, layers=2, width=32, head_width=16, patch_size=16),
             text_cfg=dict(context_length=16, vocab_size=49408, width=32, heads=2, layers=1))


@contextlib.contextmanager
def no_network():
    "No name resolves and no connection opens; what tries is recorded."
    tried = []
    def refuse(*a, **k):
        tried.append(a)
        raise socket.gaierror(-2, "Name or service not known")
    with mock.patch.object(socket, "getaddrinfo", refuse), mock.patch.object(socket.socket, "connect", refuse): yield tried


@pytest.fixture
def offline():
    with no_network() as tried: yield tried


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    d = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    (d/"open_clip_config.json").write_text(json.dumps(dict(model_cfg=SMALL)))
    save_file(open_clip.CLIP(**SMALL).state_dict(), d/"open_clip_model.safetensors")
    return d


def frames(n=10, seed=0, h=60, w=80): return np.random.default_rng(seed).integers(0, 255, (n, h, w, 3), dtype=np.uint8)
def noise(n, seed=0): return np.random.default_rng(seed).normal(0, .1, n).astype(np.float32)


@contextlib.contextmanager
def unfilled():
    "Build without random numbers: 158 M of them take many seconds, and a checkpoint or `fill` overwrites them all."
    same = lambda x, *a, **k: x
    with contextlib.ExitStack() as s:
        for name in ("normal_", "uniform_", "erfinv_"): s.enter_context(mock.patch.object(torch.Tensor, name, same))
        yield


def fill(model):
    "Cheap random weights of a sensible size for all matrices, norms as they are."
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, .03, 1_000_003).astype(np.float32))
    for name, p in model.named_parameters():
        if p.ndim > 1 and p.requires_grad: p.data = noise.repeat(-(-p.numel()//len(noise)))[:p.numel()].reshape(p.shape).clone()
        elif p.ndim == 1 and "norm" not in name and "ln_" not in name and "bn" not in name: p.data = torch.zeros_like(p)
    return model.eval()


# ---- files ----

class Bomb:
    def __reduce__(self): return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("kind", ["clip", "clap"])
def test_a_pickle_that_runs_code_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"w": torch.ones(1)}, "x": Bomb()}, "bomb.pt")
    with pytest.raises(ParameterError, match="refused"):
        T.ClapTeacher("./bomb.pt") if kind == "clap" else T.ClipTeacher("ViT-B-32", "./bomb.pt", quick_gelu=False, device="cpu")
    assert not Path("exploded").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    (tmp_path/"x.pt").write_bytes(content)
    (tmp_path/"x.safetensors").write_bytes(content)
    for name in ("x.pt", "x.safetensors"):
        with pytest.raises(ParameterError, match=name.replace(".", r"\.")): T.read_checkpoint(tmp_path/name)


def test_numpy_numbers_beside_the_tensors_are_read(tmp_path):
    torch.save({"epoch": 3, "state_dict": {"module.w": torch.ones(2)}, "best": np.float64(.5), "n": np.int64(3)}, tmp_path/"a.pt")
    state, _ = T.read_checkpoint(tmp_path/"a.pt")
    assert list(state) == ["w"]


def test_a_file_without_state_dict_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path/"a.pt")
    with pytest.raises(ParameterError, match="no state dict"): T.read_checkpoint(tmp_path/"a.pt")


@pytest.mark.parametrize("make", [lambda: T.ClapTeacher(), lambda: T.ClipTeacher(),
                                  lambda: T.ClipTeacher("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", ""), lambda: T.roberta_tokenizer()])
def test_a_missing_download_fails_without_retries_and_with_one_message(make, offline, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("valor_lab.harvest.teachers.find_data", lambda name, root=None: None)
    with mock.patch("huggingface_hub.file_download.hf_hub_download",
                    side_effect=FileNotFoundError), mock.patch("time.sleep") as slept, pytest.raises(FileNotFoundError) as e:
        make()
    assert not slept.called
    message = str(e.value)
    assert "cannot fetch" in message and "repository" in message and "data/weights/" in message
    assert e.value.__cause__ is None


def test_a_file_put_into_the_weights_folder_is_found(tmp_path, monkeypatch):
    (tmp_path/"weights"/"laion_clap").mkdir(parents=True)
    f = tmp_path/"weights"/"laion_clap"/"630k-fusion-best.pt"
    f.touch()
    monkeypatch.setenv("VALOR_TEST_DATA", str(tmp_path))
    assert T.find_clap("630k-fusion-best.pt") == f


# ---- CLIP: which activation ----

def test_an_unlabelled_file_of_a_model_with_both_activations_is_never_guessed(tmp_path):
    f = tmp_path/"weights.safetensors"
    f.touch()
    with pytest.raises(ParameterError, match="quick_gelu=True or quick_gelu=False"): T.find_clip("ViT-L-14", f)
    assert T.find_clip("ViT-L-14", f, quick_gelu=True).quick_gelu
    assert T.find_clip("ViT-L-14-quickgelu", f).quick_gelu
    assert not T.find_clip("ViT-B-16-plus-240", f).quick_gelu            # there is no other variant of it
    with pytest.raises(ParameterError, match="contradicts"): T.find_clip("ViT-L-14-quickgelu", f, quick_gelu=False)


def test_openai_in_the_name_means_quickgelu(tmp_path):
    f = tmp_path/"vit_l_14_OpenAI.pt"
    torch.save({}, f)
    assert T.find_clip("ViT-L-14", f).quick_gelu


def test_tags_carry_their_activation(monkeypatch, tmp_path):
    monkeypatch.setattr(room_of_clip, "fetch", lambda repo, *files: tmp_path/files[0])
    assert T.find_clip("ViT-L-14", "openai").quick_gelu
    assert T.find_clip("ViT-L-14", "metaclip_400m").quick_gelu
    assert not T.find_clip("ViT-L-14", "laion400m_e32").quick_gelu
    with pytest.raises(ParameterError, match="the call asks for the other"): T.find_clip("ViT-L-14", "openai", quick_gelu=False)
    with pytest.raises(ParameterError, match="choose one of"): T.find_clip("ViT-L-15", "openai")


def test_a_path_that_does_not_exist_is_not_taken_for_a_tag():
    with pytest.raises(FileNotFoundError, match="does not exist"): T.find_clip("ViT-L-14", "nowhere/openai.pt")
    with pytest.raises(FileNotFoundError, match="does not exist"): T.find_clip("ViT-L-14", "openai.safetensors")
    with pytest.raises(FileNotFoundError, match="does not exist"): T.find_clap("nowhere/clap.pt")


def test_a_network_with_the_wrong_activation_is_not_returned(clip_folder):
    source = T.clip_from_folder(clip_folder)
    with mock.patch("open_clip.create_model",
                    side_effect=lambda *a, **k: open_clip.CLIP(**SMALL,
                                                               quick_gelu=True)), pytest.raises(ParameterError, match="another activation"):
        T.build_clip(source, torch.device("cpu"), "fp32")


def copied(folder, to, **cfg):
    "The same folder of a CLIP with another configuration of its preprocessing."
    to.mkdir()
    (to/"open_clip_config.json").write_text(json.dumps(dict(model_cfg=SMALL, preprocess_cfg=cfg)))
    (to/"open_clip_model.safetensors").symlink_to(folder/"open_clip_model.safetensors")
    return to


def test_what_changes_an_embedding_changes_the_fingerprint(clip_folder, tmp_path):
    mark = lambda folder, **k: T.ClipTeacher(pretrained=folder, device="cpu", **k).fingerprint
    grey = copied(clip_folder, tmp_path/"grey", mean=[.5]*3, std=[.5]*3)
    sharp = copied(clip_folder, tmp_path/"sharp", interpolation="bilinear", resize_mode="squash")
    published = mark(clip_folder)
    assert len({published, mark(grey), mark(clip_folder, precision="bf16"), mark(clip_folder, preprocess="model"),
                mark(sharp, preprocess="model")}) == 5
    assert mark(sharp) == published and mark(clip_folder, precision="fp32") == published    # the published squash asks for neither
    assert {"mean", "std", "precision"}.isdisjoint(T.ClipTeacher(pretrained=clip_folder, device="cpu").config)


def test_a_folder_with_two_files_of_weights_is_refused_and_both_named(clip_folder, tmp_path):
    folder = copied(clip_folder, tmp_path/"two")
    (folder/"older.pt").touch()
    with pytest.raises(ParameterError, match="older.pt, open_clip_model.safetensors; expected one"): T.find_clip("any", folder)


def test_quickgelu_changes_the_embedding(clip_folder, tmp_path):
    (tmp_path/"open_clip_config.json").write_text(json.dumps(dict(model_cfg=dict(SMALL, quick_gelu=True))))
    (tmp_path/"open_clip_model.safetensors").symlink_to(clip_folder/"open_clip_model.safetensors")
    plain, quick = T.ClipTeacher(pretrained=clip_folder, device="cpu"), T.ClipTeacher(pretrained=tmp_path, device="cpu")
    assert np.abs(plain.embed_clip(frames()) - quick.embed_clip(frames())).max() > 1e-4
    assert plain.fingerprint != quick.fingerprint


# ---- CLIP: archives ----

class Archived(torch.nn.Module):
    "OpenAI's original downloads: a traced program around the weights."
    def __init__(self, model):
        super().__init__()
        for n, m in model.named_children(): setattr(self, n, m)
        for n, p in model.named_parameters(recurse=False): setattr(self, n, p)
    def forward(self, x): return self.token_embedding(x)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    torch.manual_seed(0)
    cfg = json.loads(json.dumps(open_clip.get_model_config("ViT-B-32-quickgelu")))
    cfg["vision_cfg"]["layers"] = cfg["text_cfg"]["layers"] = 1
    cfg["text_cfg"]["width"] = cfg["vision_cfg"]["width"] = 64
    cfg["text_cfg"]["heads"] = 2
    del cfg["quick_gelu"]
    d = tmp_path_factory.mktemp("archive")
    (d/"archive-test.json").write_text(json.dumps(cfg))
    (d/"archive-test-quickgelu.json").write_text(json.dumps(dict(cfg, quick_gelu=True)))
    open_clip.add_model_config(d)
    model = open_clip.create_model("archive-test-quickgelu").eval()
    traced = torch.jit.trace(Archived(model), torch.zeros(1, 3, dtype=torch.long))
    torch.jit.save(traced, d/"ViT.pt")
    return d/"ViT.pt", model


def test_a_foreign_archive_is_refused_and_a_known_one_gets_quickgelu(archive, monkeypatch):
    path, model = archive
    with pytest.raises(ParameterError, match="is a program"): T.ClipTeacher("archive-test", path, device="cpu")
    with pytest.raises(ParameterError, match="pass quick_gelu"): T.ClipTeacher("archive-test", path, device="cpu", trust_archive=True)
    monkeypatch.setattr(room_of_clip, "openai_hashes", lambda: {T.sha256(path): "archive-test"})
    assert T.find_clip("archive-test", path).quick_gelu
    with pytest.raises(ParameterError, match="OpenAI"): T.find_clip("archive-test", path, quick_gelu=False)
    clip = T.ClipTeacher("archive-test", path, device="cpu")
    x = T.squash(frames(2), (224, 224), open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    with torch.inference_mode(): expected = T.unit(model.encode_image(x))
    assert np.abs(clip.embed_clip(frames(2)) - expected).max() < 1e-5


# ---- CLIP: embeddings ----

def test_published_preprocessing_is_a_plain_bilinear_squash():
    from torchvision.transforms.functional import InterpolationMode, resize
    x = frames(2, h=97, w=181)
    expected = resize(torch.from_numpy(x).permute(0, 3, 1, 2).float()/255, [224, 224], InterpolationMode.BILINEAR, antialias=False)
    expected = (expected - torch.tensor([.5, .4, .3])[:, None, None])/torch.tensor([.2, .3, .4])[:, None, None]
    assert torch.allclose(T.squash(x, (224, 224), (.5, .4, .3), (.2, .3, .4)), expected, atol=1e-6)


def test_clip_is_deterministic_and_independent_of_the_batch(clip_folder):
    clip = T.ClipTeacher(pretrained=clip_folder, device="cpu")
    a = clip.embed_clip(frames())
    assert a.dtype == np.float32 and a.shape == (10, 32) and np.allclose(np.linalg.norm(a, axis=1), 1, atol=1e-6)
    assert np.array_equal(a, clip.embed_clip(frames()))
    assert np.array_equal(a, clip.embed_clips([frames(3, 1), frames(), frames(10, 2, 90, 40)])[1])
    assert np.abs(clip.embed_clip(frames()[4:5]) - a[4:5]).max() < 1e-6
    text = clip.embed_text(["A photo of a dog.", "A photo of a cat."])
    assert np.abs(clip.embed_text(["A photo of a cat."]) - text[1:]).max() < 1e-6
    assert clip.embed_text([]).shape == (0, 32)
    assert clip.embed_clips([]) == []
    again = T.ClipTeacher(pretrained=clip_folder, device="cpu")
    assert again.fingerprint == clip.fingerprint and np.array_equal(again.embed_clip(frames()), a)
    own = T.ClipTeacher(pretrained=clip_folder, device="cpu", preprocess="model")
    assert own.fingerprint != clip.fingerprint and np.abs(own.embed_clip(frames()) - a).max() > 1e-4


def test_batches_across_clips_give_the_same_vectors(clip_folder):
    clip = T.ClipTeacher(pretrained=clip_folder, device="cpu")
    clips = [frames(3, s, 40 + s, 50) for s in range(5)]
    apart = [clip.embed_clip(c) for c in clips]
    with mock.patch.object(room_of_clip, "groups", lambda sizes, limit: [[0, 1], [2, 3, 4]]): together = clip.embed_clips(clips)
    assert all(np.abs(a - b).max() < 1e-6 for a, b in zip(apart, together))


@pytest.mark.parametrize("bad", [frames()[0], frames().astype(np.float32), frames(0), frames()[..., :1], "frames"])
def test_frames_of_another_kind_are_refused(clip_folder, bad):
    with pytest.raises(ParameterError, match="frames must be"): T.ClipTeacher(pretrained=clip_folder, device="cpu").embed_clip(bad)


def test_bfloat16_stays_close(clip_folder):
    a, b = (T.ClipTeacher(pretrained=clip_folder, device="cpu", precision=p).embed_clip(frames()) for p in ("fp32", "bf16"))
    assert 0 < np.abs(a - b).max() < .05 and b.dtype == np.float32


@pytest.mark.slow
def test_the_real_vit_loads_from_a_local_file_without_a_network(tmp_path, offline):
    with unfilled(): model = fill(open_clip.create_model("ViT-B-32-quickgelu"))
    f = tmp_path/"ViT-B-32-openai.safetensors"
    save_file({k: v.half() for k, v in model.state_dict().items()}, f)
    with unfilled(): clip = T.ClipTeacher("ViT-B-32", f, device="cpu")
    assert any(isinstance(m, open_clip.transformer.QuickGELU) for m in clip.model.modules())
    v = clip.embed_clip(frames(4, h=240, w=320))
    assert v.shape == (4, 512) and np.abs(clip.embed_clip(frames(4, h=240, w=320)[2:3]) - v[2:3]).max() < 1e-6
    assert np.array_equal(v, clip.embed_clip(frames(4, h=240, w=320)))
    t = clip.embed_text(["A photo of a dog.", "A photo of a cat."])
    assert t.shape == (2, 512) and np.abs(clip.embed_text(["A photo of a dog."]) - t[:1]).max() < 1e-6
    assert not offline


# ---- CLAP ----

def test_segments_are_cut_as_published():
    for n in (480_000, 480_256, 441_003, 105, 10):
        x = np.arange(n)
        b = [round(i*n/10) for i in range(11)]
        for s, start in zip(T.cut(x), b): assert s[0] == start and len(s) == n//10


def test_repeat_padding_fills_with_whole_repetitions():
    assert T.repeat_pad(torch.arange(48_000.), 480_000).reshape(10, -1).eq(torch.arange(48_000.)).all()
    x = T.repeat_pad(torch.ones(48_024), 480_000)
    assert x[:9*48_024].eq(1).all() and x[9*48_024:].eq(0).all()


@pytest.mark.parametrize("bad, message", [(np.zeros((2, 100), np.float32), "mono"), (np.zeros(100, np.int16), "int16"),
                                          (np.zeros(5, np.float32), "5 samples"), ([0.]*100, "list"),
                                          (np.array([0., np.nan]*50), "50 values"), (np.array([0., np.inf]*50), "50 values"),
                                          (np.zeros(0, np.float32), "0 samples")])
def test_audio_of_another_kind_is_refused(bad, message):
    with pytest.raises(ParameterError, match=message): T.check_audio(bad, 10)


def roberta_folder(d:Path, entries=50_265):
    "A complete byte-level alphabet, and dummies up to the size of the real table."
    d.mkdir(parents=True, exist_ok=True)
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in keep] + [chr(256 + i) for i in range(256 - len(keep))]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *letters]
    tokens += [f"dummy{i}" for i in range(entries - 1 - len(tokens))] + ["<mask>"]
    (d/"vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (d/"merges.txt").write_text("#version: 0.2\n")
    return d


def test_a_complete_tokenizer_is_accepted_and_a_short_or_missing_one_refused(tmp_path, offline):
    ids = T.roberta_tokenizer(roberta_folder(tmp_path/"good"))(["a dog"])
    assert ids["input_ids"].shape == (1, 77) and 3 not in ids["input_ids"]
    with pytest.raises(ParameterError, match="1000 entries"): T.roberta_tokenizer(roberta_folder(tmp_path/"short", 1000))
    (tmp_path/"none").mkdir()
    with pytest.raises(FileNotFoundError, match="vocab.json and merges.txt"): T.roberta_tokenizer(tmp_path/"none")
    assert not offline


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    "laion_clap's real fusion model with random weights, saved as the official checkpoints are."
    d = tmp_path_factory.mktemp("clap")
    T.clap_module()
    config = json.loads(json.dumps(sys.modules["clap_module.factory"]._MODEL_CONFIGS["HTSAT-tiny"]))
    config["text_cfg"]["model_type"] = "roberta"
    torch.manual_seed(0)
    with unfilled(): model = fill(T.build_clap(dict(config, enable_fusion=True, fusion_type="aff_2d")))
    state = ({f"module.{k}": v for k, v in model.state_dict().items()}
             | {"module.text_branch.embeddings.position_ids": torch.arange(514)[None]})
    torch.save({"epoch": 1, "name": "test", "state_dict": state, "loss": np.float64(1.)}, d/"official.pt")
    roberta_folder(d/"roberta")
    del model, state
    return d


@pytest.fixture(scope="module")
def clap(official):
    "The real teacher, loaded from local files while every connection is refused."
    with no_network() as tried, unfilled(): teacher = T.ClapTeacher(official/"official.pt", device="cpu", tokenizer=official/"roberta")
    assert not tried
    return teacher


@pytest.mark.slow
def test_the_real_clap_loads_from_local_files_without_a_network(clap, offline):
    assert clap.model.enable_fusion and clap.scale == pytest.approx(1/.07, rel=1e-4)
    x = noise(144_077)
    a = clap.embed_clip(x, 3)
    assert a.shape == (3, 512) and a.dtype == np.float32 and np.allclose(np.linalg.norm(a, axis=1), 1, atol=1e-6)
    assert np.array_equal(a, clap.embed_clips([noise(150_000, 2), x], 3)[1])   # a clip, whatever else is in the list
    assert np.abs(clap.embed_clip(T.cut(x, 3)[1], 1) - a[1:2]).max() < 1e-6    # a second, alone or among three
    text = clap.embed_text(["This is a sound of dog", "This is a sound of cat"])
    assert text.shape == (2, 512) and np.abs(clap.embed_text(["This is a sound of cat"]) - text[1:]).max() < 1e-6
    long = noise(700_000, 1)
    assert np.array_equal(clap.embed_clip(long, 1), clap.embed_clip(long, 1))  # no dice beyond ten seconds
    x = noise(480_256)
    tokens = clap.token_map(x)
    assert tokens.shape == (64, 768) and T.pooled(tokens).shape == (10, 768)
    with torch.inference_mode():
        whole = clap.model.encode_audio(T.clap_input([T.stretch(x, 480_000)], clap.model.audio_cfg, True), device="cpu")
    assert np.abs(tokens.mean(0) - whole["embedding"][0].numpy()).max() < 1e-5
    # time runs left to right
    assert np.abs(tokens.reshape(2, 32, 768).mean(0) - whole["fine_grained_embedding"][0].numpy().reshape(32, -1, 768)[:, 0]).max() < 1e-5
    assert not offline


@pytest.mark.slow
def test_embeddings_equal_those_of_laion_clap_itself(official, clap):
    import transformers
    local = transformers.RobertaTokenizer.from_pretrained(str(official/"roberta"))
    with contextlib.ExitStack() as s:
        for c in {transformers.BertTokenizer, transformers.RobertaTokenizer, transformers.BartTokenizer}:
            s.enter_context(mock.patch.object(c, "from_pretrained", staticmethod(lambda *a, **k: local)))
        from laion_clap.training import data as theirs
        from laion_clap.hook import CLAP_Module
    module = CLAP_Module.__new__(CLAP_Module)
    torch.nn.Module.__init__(module)
    module.model, module.enable_fusion, module.tokenize = clap.model, True, local
    module.model_cfg = dict(audio_cfg=vars(clap.model.audio_cfg))
    x = noise(480_256)[:96_040]
    as_object = lambda audio, cfg: T.log_mel(audio, clap.model.audio_cfg)
    with mock.patch.object(theirs, "get_mel", as_object), torch.inference_mode():
        assert np.abs(module.get_audio_embedding_from_data(list(T.cut(x, 2))) - clap.embed_clip(x, 2)).max() < 1e-6
    with torch.inference_mode():
        assert np.abs(module.get_text_embedding(["a dog", "a cat"]) - clap.embed_text(["a dog", "a cat"])).max() < 1e-6


@pytest.mark.slow
def test_a_checkpoint_with_missing_or_foreign_weights_is_refused(official, tmp_path):
    state, _ = T.read_checkpoint(official/"official.pt")
    del state["audio_projection.0.weight"]
    torch.save(state, tmp_path/"a.pt")
    with unfilled(), pytest.raises(ParameterError, match="audio_projection.0.weight"): T.open_clap(tmp_path/"a.pt")
    torch.save({"w": torch.ones(1)}, tmp_path/"b.pt")
    with pytest.raises(ParameterError, match="no checkpoint of laion_clap"): T.open_clap(tmp_path/"b.pt")


def test_the_mel_follows_the_definition():
    import librosa
    T.clap_module()
    cfg = sys.modules["clap_module.model"].CLAPAudioCfp(hop_size=480, model_type="HTSAT", model_name="tiny")
    x = noise(48_000)
    expected = librosa.feature.melspectrogram(y=x, sr=48_000, n_fft=1024, hop_length=480, win_length=1024, center=True,
                                              pad_mode="reflect", power=2., n_mels=64, norm=None, htk=True, fmin=50, fmax=14000)
    assert np.abs(T.log_mel(torch.from_numpy(x), cfg).numpy() - 10*np.log10(np.maximum(expected.T, 1e-10))).max() < 1e-3


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cuda:x", "", "cpu cpu"])
def test_a_device_that_is_not_here_is_refused_in_words(device):
    from valor_lab.harvest import pick_device
    with pytest.raises(ParameterError, match="device="): pick_device(device)
