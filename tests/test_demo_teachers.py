"""The demo teachers: small, apart from the demo set, loaded by the ordinary code, good but not perfect."""
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

from valor_lab.demo import render as demo, teachers as D
import valor_lab.harvest as T
from valor_lab.vocab import LLP


@pytest.fixture(scope="module")
def pair(): return D.demo_teachers(device="cpu")


def test_the_files_are_three_megabytes_at_most_and_hold_no_table():
    files = sorted(D.packaged().glob("*.safetensors"))
    assert [f.name for f in files] == ["clap.safetensors", "clip.safetensors"]
    assert sum(f.stat().st_size for f in files) <= 3_000_000
    for f in files: assert len(T.read_checkpoint(f)[0]["token_embedding.weight"]) < 200


def test_they_are_ordinary_teachers(pair):
    clip, clap = pair
    assert type(clip) is T.ClipTeacher and type(clap) is T.ClapTeacher
    assert (clip.modality, clap.modality) == ("visual", "audio")
    assert clip.scale == pytest.approx(100, rel=1e-2) and clap.scale == pytest.approx(20, rel=1e-2)
    frames, audio = np.zeros((10, 90, 160, 3), np.uint8), np.random.default_rng(0).normal(0, .1, 480_000).astype(np.float32)
    v, a = clip.embed_clip(frames), clap.embed_clip(audio)
    assert v.shape == a.shape == (10, 64) and v.dtype == a.dtype == np.float32
    assert np.array_equal(a, clap.embed_clip(audio)) and np.array_equal(clap.embed_clips([audio[:-5000], audio])[1], a)
    assert np.abs(clap.embed_clip(T.cut(audio)[4], 1) - a[4:5]).max() < 1e-6
    for t in pair:
        e = t.embed_text(list(LLP.clip_captions))
        assert np.abs(t.embed_text(list(LLP.clip_captions[3:4])) - e[3:4]).max() < 1e-6
    assert clap.token_map(audio).shape == (2*2*10*4, 128)


def test_loading_twice_gives_one_fingerprint(pair):
    again = D.demo_teachers(device="cpu")
    assert [t.fingerprint for t in again] == [t.fingerprint for t in pair]
    assert pair[0].fingerprint != pair[1].fingerprint


def test_a_caption_of_another_world_is_announced(pair):
    for t in pair:
        assert t.unknown_captions([LLP.clip_captions[0], LLP.clap_captions[0], "A photo of a zebra."]) == ["A photo of a zebra."]
        with pytest.warns(UserWarning, match="mean nothing to it: 'A photo of a zebra.'"): t.embed_text(["A photo of a zebra."])


def test_what_they_learned_from_has_a_seed_that_no_set_can_have():
    assert not 0 <= demo.TEACHER_SEED < 2**32
    with pytest.raises(ValueError): demo.plan_demo("tiny", demo.TEACHER_SEED)
    asked = []
    with pytest.MonkeyPatch.context() as m:
        m.setattr(D, "event_rng", lambda seed, *path: asked.append(seed) or demo.event_rng(seed, *path))
        D.render_figures(1, 0), D.render_sounds(1, 0, .3)
    assert set(asked) == {demo.TEACHER_SEED}


def test_they_recognise_new_examples_but_not_all(pair):
    clip, clap = pair
    pictures, truth = D.render_figures(3, seed=7)
    pictures, truth = pictures[truth.any(1)], truth[truth.any(1)]
    seen = clip.scale*clip.embed_clip(pictures) @ clip.embed_text(list(LLP.clip_captions)).T
    sounds = D.render_sounds(2, seed=7, seconds=1).reshape(-1, 48_000).astype(np.float32)
    heard = clap.scale*np.stack([clap.embed_clip(s, 1)[0] for s in sounds]) @ clap.embed_text(list(LLP.clap_captions)).T
    for margin, own in ((seen - LLP.clip_thresholds, truth), (heard - LLP.clap_thresholds, np.repeat(np.eye(25, dtype=bool), 2, 0))):
        assert .5 < own[np.arange(len(own)), margin.argmax(1)].mean()
        assert np.median(margin[own]) > np.median(margin[~own]) + 2


def test_training_writes_a_loadable_pair(tmp_path):
    D.train_demo_teachers(tmp_path, steps=2, examples=(1, 1))
    for t in D.demo_teachers(tmp_path, "cpu"): assert t.embed_text([LLP.clip_captions[0]]).shape == (1, D.SPACE)


def test_restored_rows_stand_where_the_tokenizer_expects_them(tmp_path):
    import open_clip
    numbers = D.caption_tokens(open_clip.tokenize)
    state = {"token_embedding.weight": torch.randn(49_408, 4), "bn.running_mean": torch.ones(2)}
    D.shrink(state, numbers, tmp_path/"s.safetensors", note=1)
    meta = D.restore(tmp_path/"s.safetensors", tmp_path/"f.safetensors")
    table = T.read_checkpoint(tmp_path/"f.safetensors")[0]["token_embedding.weight"]
    assert meta == {"note": "1"} and torch.allclose(table[numbers], state["token_embedding.weight"][numbers], atol=2e-3)
    unused = np.setdiff1d(np.arange(49_408), numbers.unique())
    assert table.shape == (49_408, 4) and table[unused].abs().max() == 0
