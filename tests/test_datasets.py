"""Data sets on disk: what is found, what is left out and said so, and every kind of broken feature file."""
import json
import numpy as np, pandas as pd, pytest

from valor_lab.core import ParameterError
from valor_lab.datasets import inventory, list_labels, load_dataset, load_labels, read_split, register_dataset, save_labels
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.vocab import LLP

pytest.importorskip("torch")
SHAPES = {"feats/vggish": (10, 128), "feats/res152": (80, 2048), "feats/r2plus1d_18": (10, 512), "CLAP/features": (64, 768),
          "CLIP/features": (10, 768)}

@pytest.fixture
def root(tmp_path):
    "Four clips in the published layout, under `llp/`."
    rng, folder = np.random.default_rng(0), tmp_path/"llp"
    weak = WeakLabels([f"clip-{i:06d}_{10 * i}_{10 * i + 10}" for i in range(4)], np.eye(4, 25))
    for sub, shape in SHAPES.items():
        (folder/sub).mkdir(parents=True)
        for c in weak.ids: np.save(folder/sub/f"{c[:11]}.npy", rng.normal(size=shape).astype(np.float32))
    for t in ("CLIP", "CLAP"):
        (folder/t/"segment_pseudo_labels").mkdir()
        for i, c in enumerate(weak.ids):
            np.save(folder/t/"segment_pseudo_labels"/f"{c[:11]}.npy", np.tile(weak.mask[i], (10, 1)).astype(int))
    for f in ("AVVP_train.csv", "AVVP_val_pd.csv", "AVVP_test_pd.csv"): weak.to_csv(folder/f)
    weak.copied().to_csv(folder/"AVVP_eval_audio.csv", folder/"AVVP_eval_visual.csv")
    return tmp_path

def test_the_published_layout_opens_as_features_and_labels(root):
    classic, plus = load_dataset("llp", root, "train"), load_dataset("llp", root, "val", "clipclap")
    assert {k: v.shape for k, v in classic.features.items()} == dict(audio=(4, 10, 128), visual=(4, 10, 2048), motion=(4, 10, 512))
    assert {k: v.shape for k, v in plus.features.items()} == dict(audio=(4, 10, 768), visual=(4, 10, 768), motion=(4, 10, 512))
    assert classic.truth is None and plus.truth.ids == plus.ids and (classic.labels.audio == classic.weak.copied().audio).all()
    assert all(v.dtype == np.float16 for v in plus.features.values())

def test_features_are_pooled_like_the_networks_first_layers_would(root):
    from valor_lab.models import pool_clap_tokens
    plus = load_dataset("llp", root, "val", "clipclap")
    raw = np.load(root/"llp/CLAP/features"/f"{plus.ids[2][:11]}.npy")
    assert np.abs(plus.features["audio"][2] - pool_clap_tokens(raw)).max() < 4e-3

def test_a_clip_without_a_feature_is_left_out_and_named_with_the_ledgers_reason(root):
    ids = load_dataset("llp", root).ids
    (root/"llp/feats/vggish"/f"{ids[1][:11]}.npy").unlink()
    (root/"llp/videos").mkdir()
    pd.DataFrame(dict(clip=[ids[1]], state=["gone"], reason=["Private video"])).to_csv(root/"llp/videos/ledger.csv", index=False)
    data = load_dataset("llp", root, "test")
    assert data.ids == (ids[0], ids[2], ids[3]) and len(data.truth) == len(data.weak) == len(data.features["motion"]) == 3
    assert data.coverage == "3 of 4 clips of llp test" and data.missing.values.tolist() == [[ids[1], "classic audio", "Private video"]]

@pytest.mark.parametrize("array,words", [(np.zeros((9, 128), np.float32), ["[9, 128]", "[10, 128]"]),
                                         (np.full((10, 128), np.nan, np.float32), ["NaN"]),
                                         (np.full((10, 128), np.inf, np.float32), ["inf"]), (np.array([[{}]]), ["pickle"]),
                                         (np.ones((10, 128)) * 1j, ["complex"]), (np.full((10, 128), "x"), ["text"]),
                                         (np.zeros((10, 128), "M8[D]"), ["dates"]), (np.full((10, 128), 1e6, np.float32), ["float16"])])
def test_a_broken_feature_file_is_named_with_what_was_found_and_expected(root, array, words):
    f = next((root/"llp/feats/vggish").iterdir())
    np.save(f, array)
    with pytest.raises(ValueError) as e: load_dataset("llp", root)
    assert all(w in str(e.value) for w in words) and "vggish" in str(e.value), e.value

@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_array_is_named(root, content):
    f = next((root/"llp/feats/vggish").iterdir())
    f.write_bytes(content)
    with pytest.raises(ParameterError, match=f.name): load_dataset("llp", root)

def test_what_was_read_once_is_found_again_until_a_file_changes(root):
    first = load_dataset("llp", root)
    kept = sorted(p.name for p in (root/"llp/pooled").iterdir())
    load_dataset("llp", root)
    assert sorted(p.name for p in (root/"llp/pooled").iterdir()) == kept and len(kept) == 3
    np.save(root/"llp/feats/vggish"/f"{first.ids[0][:11]}.npy", np.ones((10, 128), np.float32) * 7)
    assert (load_dataset("llp", root).features["audio"][0] == 7).all() and len(list((root/"llp/pooled").iterdir())) == 3

def test_nothing_at_all_is_an_error_that_says_how_to_get_it(root, tmp_path, monkeypatch):
    import shutil
    shutil.rmtree(root/"llp/CLAP")
    with pytest.raises(FileNotFoundError, match="valor fetch valor-features"): load_dataset("llp", root, "val", "clipclap")
    monkeypatch.delenv("VALOR_TEST_DATA", raising=False)
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path/"nowhere"))
    with pytest.raises(FileNotFoundError, match="valor fetch llp-annotations"): load_dataset("llp", tmp_path/"empty")

@pytest.mark.parametrize("call", [lambda r: load_dataset("lpl", r), lambda r: load_dataset("llp", r, "dev"),
                                  lambda r: load_dataset("llp", r, "val", "clap")])
def test_an_unknown_word_is_refused_with_the_known_ones(root, call):
    with pytest.raises(ParameterError, match="choose one of"): call(root)

def test_labels_keep_their_name_and_their_clips_without_events(tmp_path):
    s = SegmentLabels(["a", "b"], np.zeros((2, 10, 25)), np.concatenate([np.ones((1, 10, 25)), np.zeros((1, 10, 25))]),
                      durations=[10, 7.25])
    save_labels(s, "mine", tmp_path, dict(note="<b>kept</b>"))
    again = load_labels("mine", tmp_path)
    assert again.ids == ("a", "b") and (again.visual == s.visual).all() and (again.durations == s.durations).all() and again.vocab is LLP
    assert (json.loads((tmp_path/"labels/mine/about.json").read_text())["about"]["note"] == "<b>kept</b>"
            and list_labels(tmp_path) == ["mine"])
    with pytest.raises(ParameterError, match="there are mine"): load_labels("yours", tmp_path)
    with pytest.raises(ParameterError): save_labels(s, "../mine", tmp_path)

def test_labels_that_were_cut_short_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    folder = save_labels(SegmentLabels(["a", "b"], rng.random((2, 10, 25)) < .2, rng.random((2, 10, 25)) < .2), "mine", tmp_path)
    events, = folder.glob("*/events.csv")
    lines = events.read_text().splitlines(keepends=True)
    events.write_text("".join(lines[:-1]))
    with pytest.raises(ParameterError, match="not what was saved"): load_labels("mine", tmp_path)
    events.write_text("".join(lines))
    assert len(load_labels("mine", tmp_path)) == 2
    with pytest.raises(ParameterError, match="not those of more"):
        load_labels("mine", tmp_path, LLP.with_event("Rain", "rain", "rain").__class__("more", ["Rain"], ["r"], ["r"], [0], [0]))

def test_a_save_over_a_name_can_be_taken_back_and_old_tables_go(tmp_path):
    from valor_lab.files import Overtaken, kept, restore
    made = [SegmentLabels(["a", "b"], rng.random((2, 10, 25)) < .2, rng.random((2, 10, 25)) < .2)
            for rng in map(np.random.default_rng, range(14))]
    for s in made: folder = save_labels(s, "mine", tmp_path)
    versions = kept(folder/"about.json")
    assert (len(versions) == 10 and len(list(folder.glob("*/events.csv"))) == 10
            and (load_labels("mine", tmp_path).audio == made[-1].audio).all())
    restore(folder/"about.json", versions[3]["version"])
    assert (load_labels("mine", tmp_path).audio == made[7].audio).all()
    with pytest.raises(Overtaken, match="was saved by"): save_labels(made[0], "mine", tmp_path, seen="")

def test_labels_of_version_0_1_open(tmp_path):
    s = SegmentLabels(["a"], np.eye(10, 25)[None] > 0, np.eye(10, 25)[None] > 0)
    folder = save_labels(s, "mine", tmp_path)
    body = json.loads((folder/"about.json").read_text())
    for f in ("events.csv", "clips.csv"): (folder/body["files"]/f).rename(folder/f)
    (folder/"about.json").write_text(json.dumps({k: v for k, v in body.items() if k != "files"}))
    assert (load_labels("mine", tmp_path).audio == s.audio).all()
    save_labels(s, "mine", tmp_path)
    assert (load_labels("mine", tmp_path).audio == s.audio).all() and list_labels(tmp_path) == ["mine"]

@pytest.mark.parametrize("change", [dict(n_segments=10**9), dict(n_segments="10"), dict(n_segments=10**7), dict(events="Dog"),
                                    dict(events=[1]), dict(vocabulary=[]), dict(files="../../x"), dict(files=3), dict(fingerprint=7),
                                    dict(events=["Dog", "Dog"])])
def test_a_note_that_lies_is_a_parameter_error(tmp_path, change):
    folder = save_labels(SegmentLabels([f"c{i}" for i in range(20)], np.ones((20, 10, 25), bool), np.ones((20, 10, 25), bool)),
                         "mine", tmp_path)
    body = json.loads((folder/"about.json").read_text())
    (folder/"about.json").write_text(json.dumps(body | change))
    with pytest.raises(ParameterError): load_labels("mine", tmp_path)

def test_an_id_with_a_tab_is_refused_where_it_would_be_written(tmp_path):
    s = SegmentLabels(["a\tb"], np.ones((1, 10, 25), bool), np.ones((1, 10, 25), bool))
    for write in (lambda: save_labels(s, "mine", tmp_path), lambda: s.to_csv(tmp_path/"a.csv", tmp_path/"v.csv"),
                  lambda: s.weak().to_csv(tmp_path/"w.csv")):
        with pytest.raises(ParameterError, match="tab"): write()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]

def test_a_revision_that_is_not_here_is_an_error_not_a_missing_truth(root):
    with pytest.raises(FileNotFoundError, match="revision-2202"): read_split("llp", "val", root, revision="2202")
    with pytest.raises(ParameterError): read_split("llp", "val", root, revision="../x/")

def test_another_root_is_not_filled_from_elsewhere(data, tmp_path):
    data("llp")
    with pytest.raises(FileNotFoundError, match="valor fetch"): read_split("llp", "val", tmp_path)

def test_one_missing_harvested_label_is_named_not_passed_over(root):
    ids = load_dataset("llp", root).ids
    (root/"llp/CLAP/segment_pseudo_labels"/f"{ids[2][:11]}.npy").unlink()
    data = load_dataset("llp", root)
    assert data.labels is None and data.missing.values.tolist() == [[ids[2], "harvested labels", ""]] and len(data) == 4

def test_named_labels_train_a_data_set(root):
    data = load_dataset("llp", root, "val")
    save_labels(data.truth, "by-hand", root)
    assert (load_dataset("llp", root, "train", labels="by-hand").labels.audio == data.truth.audio).all()
    assert load_dataset("llp", root, "train", labels=data.truth).labels.ids == data.ids

def test_fewer_clips_keep_every_part_in_step(root):
    data = load_dataset("llp", root, "val")
    few = data.select(data.ids[2:0:-1])
    with pytest.raises(KeyError, match="1 clip without a row in this data set: nope"): data.select(["nope"])
    assert (few.ids == few.weak.ids == few.truth.ids == few.labels.ids == data.ids[2:0:-1]
            and (few.features["audio"][0] == data.features["audio"][2]).all())

def test_the_inventory_counts_what_is_here_and_says_how_to_get_the_rest(root):
    (next((root/"llp/feats/vggish").iterdir())).unlink()
    stock = inventory("llp", root).set_index(["split", "what"])
    assert (stock.loc[("val", "classic audio (feats/vggish)"), ["here", "of"]].tolist() == [3, 4]
            and "AVVP-ECCV20" in stock.loc[("val", "classic audio (feats/vggish)"), "how to get it"])
    assert stock.loc[("val", "harvested labels (CLIP)"), "how to get it"] == "" and stock.loc[("train", "truth"), "here"] == 0

def test_another_data_set_can_be_registered(root, monkeypatch):
    from valor_lab.datasets import dataset as datasets
    monkeypatch.setattr(datasets, "REGISTERED", {})
    register_dataset("mine", lambda name, *rest: name)
    assert load_dataset("mine", root) == "mine" and set(inventory("mine", root)["here"]) == {0}

def test_a_registered_data_set_may_bring_its_own_reader_and_folder(root, monkeypatch):
    from valor_lab.datasets import dataset as datasets
    monkeypatch.setattr(datasets, "REGISTERED", {})
    weak = WeakLabels(["a", "b"], np.eye(2, 25))
    register_dataset("mine", lambda name, *rest: name,
                     reader=lambda name, split, *rest: (weak, weak.copied() if split == "test" else None), place="mine/{size}")
    assert (read_split("mine", "test", root)[1].audio.shape == (2, 10, 25)
            and datasets.dataset_folder("mine", root, "tiny") == root/"mine"/"tiny")
    stock = inventory("mine", root).set_index(["what", "split"])
    assert (stock.loc[("annotations", "val"), "here"] == 2 and stock.loc[("truth", "test"), "here"] == 2
            and stock.loc[("truth", "train"), "here"] == 0)
    with pytest.raises(ParameterError, match="split"): read_split("mine", "tset", root)

def test_the_real_annotations_read_with_both_revisions(data):
    data("llp/revision-2020")
    weak, truth = read_split("llp", "test")
    before = read_split("llp", "test", revision="2020")[1]
    assert len(weak) == 1200 and (truth.audio != before.audio).sum() == 8

# the library's own sets are files like any other

def test_each_data_set_of_the_library_is_a_file_read_as_any_other(capsys):
    import hashlib
    from valor_lab.cli import main
    from valor_lab.datasets import describe_set, list_shipped
    from valor_lab.vocab import AVE, VOCABS
    assert list_shipped() == ["ave", "ave-demo", "demo", "llp", "tal-demo", "thumos14"]
    llp, ave, demo, thumos = map(describe_set, ("llp", "ave", "demo", "thumos14"))
    assert llp.vocab is LLP and ave.vocab is AVE and demo.vocab is LLP and len(thumos.vocab) == 20 and thumos.splits["test"].name == "annotations.csv"
    said = lambda v: hashlib.sha256(repr((v.events, v.clip_captions, v.clap_captions, v.clip_thresholds.tolist(), v.clap_thresholds.tolist())).encode()).hexdigest()[:12]
    assert said(LLP) == "da4af12f38f3" and said(AVE) == "b6a3c6111728"                    # letter by letter, as version 0.1 had them
    assert llp.alignment == "published" and llp.parts == 10 and llp.whole and demo.sizes["full"] == {} and demo.place == "demo-small"
    for name in list_shipped():
        capsys.readouterr()
        assert main(["sets", name]) == 0 and "[splits]" in capsys.readouterr().out
    assert main(["sets"]) == 0 and len(capsys.readouterr().out.splitlines()) >= 6

def test_a_copied_file_of_the_library_is_a_data_set_of_ones_own(root, monkeypatch, capsys):
    from valor_lab.cli import main
    from valor_lab.datasets import describe_set
    from valor_lab.training import recipe
    monkeypatch.setenv("VALOR_ROOT", str(root))
    (root/"data").mkdir()
    (root/"llp").rename(root/"data/mine")
    main(["sets", "llp"])
    text = capsys.readouterr().out.replace('clip = "A photo of a dog."', 'clip = "A photo of a large dog."')
    (root/"data/mine/dataset.toml").write_text(text)
    mine = load_dataset("mine", split="val")
    assert mine.coverage == "4 of 4 clips of mine val" and mine.truth.ids == mine.ids and mine.features["visual"].shape == (4, 10, 2048)
    assert (mine.labels.audio == mine.weak.copied().audio).all() and mine.vocab.events == LLP.events and mine.vocab != LLP
    assert describe_set("mine").vocab.clip_captions[LLP.index("Dog")] == "A photo of a large dog." and recipe("mine").beside == "VALOR Table 1"
    assert inventory("mine").set_index(["split", "what"]).loc[("val", "harvested labels (CLIP)"), "here"] == 4

@pytest.mark.parametrize("change, why", [
    ('layout = "lllp"', "layout"), ('source = "oven"', "source"), ('vocabulary = "llp"\n[events.Dog]', "vocabulary and"), ("short_names = 1", "short_names"),
    ('[features.store]\naudio = "store"\nvisual = "store"', "features.store"), ('[features.a]\naudio = "store"', "both audio and visual"),
    ('[labels]\naudio = "x"', "two folders"), ('of = "../x"', "of"), ('[sizes]\nbig = 3', "sizes.big"), ("[get]\nx = 3", "x is 3")])
def test_what_a_file_of_many_words_says_wrong_is_named(tmp_path, monkeypatch, change, why):
    from valor_lab.training import recipe
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    (tmp_path/"data/mine").mkdir(parents=True)
    head, _, tables = change.partition("[")
    text = f'{head}\n[splits]\ntrain = "weak.csv"\n{"[" + tables if tables else ""}\n' + ("" if "vocabulary" in change else "[events.Dog]\n")
    (tmp_path/"data/mine/dataset.toml").write_text(text)
    with pytest.raises(ParameterError, match="dataset.toml") as e: recipe("mine")
    assert why in str(e.value)

def test_llp_is_harvested_as_its_file_says_like_any_other_set(tmp_path, monkeypatch):
    "Films under their eleven characters; streams stretched over ten segments; first labels by the published thresholds."
    pytest.importorskip("av"), pytest.importorskip("lance")
    from toy_teachers import toy_clip
    from valor_lab.datasets import clip_files, describe_set, harvest_set, label_set
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    class Loud:
        name, fingerprint, scale, width, modality = "loud", "loud", 1., 2, "audio"
        def embed_clips(self, sounds, n_segments): return [np.tile([.8, .6], (n_segments, 1)).astype(np.float32) for _ in sounds]
        def embed_text(self, captions): return np.tile([.8, .6], (len(captions), 1)).astype(np.float32)
    weak = WeakLabels([f"clip{i:07d}_{i}_{i + 10}" for i in range(2)], np.eye(2, 25))
    (tmp_path/"data/llp").mkdir(parents=True)
    for f in ("AVVP_train.csv", "AVVP_val_pd.csv", "AVVP_test_pd.csv"): weak.to_csv(tmp_path/"data/llp"/f)
    for c in weak.ids: toy_clip(tmp_path/f"data/llp/videos/{c[:11]}.mp4", [], [0, 1, 2])
    assert {c: p.name for c, p in clip_files(describe_set("llp"), weak.ids).items()} == {c: f"{c[:11]}.mp4" for c in weak.ids}
    store = harvest_set("llp", None, Loud(), progress=False)
    assert store.settings["alignment"] == "published" and store.settings["n_segments"] == 10 and set(store.ids) == set(weak.ids)
    with pytest.warns(UserWarning): labels = label_set("llp")
    assert list_labels() == ["llp-harvested"] and labels.audio[0, :, 0].all() and not labels.audio[1, :, 0].any()     # 1 > θ = 0, where the list has it
    (tmp_path/"data/llp/videos/clip0000000.mkv").write_bytes(b"")
    stock = inventory("llp").set_index(["split", "what"])
    assert stock.loc[("train", "recordings"), "here"] == 0 and "clip0000000" in stock.loc[("train", "recordings"), "how to get it"]

def test_a_shorter_name_counts_only_where_the_file_says_so_and_a_whole_set_leaves_half_clips_out(tmp_path):
    ids, folder = ["abcdefghijk_0_10", "abcdefghijl_5_15"], tmp_path/"mine"
    (folder/"f").mkdir(parents=True)
    head = "n_segments = 10\n[events.Dog]\n[splits]\ntrain = 'weak.csv'\n[features]\naudio = { folder = 'f', shape = [10, 3] }\nvisual = { folder = 'g', shape = [10, 3] }\n"
    (folder/"weak.csv").write_text("clip,event\n" + "".join(f"{c},Dog\n" for c in ids))
    for c in ids: np.save(folder/"f"/f"{c[:11]}.npy", np.ones((10, 3), np.float32))
    (folder/"dataset.toml").write_text(head)
    with pytest.raises(FileNotFoundError, match="no clip of mine"): load_dataset("mine", tmp_path, features="own")
    (folder/"dataset.toml").write_text("short_names = true\n" + head)
    half = load_dataset("mine", tmp_path, features="own")
    assert len(half) == 2 and np.isnan(half.features["visual"]).all() and set(half.missing.what) == {"own visual"}
    (folder/"g").mkdir()
    np.save(folder/"g"/f"{ids[0][:11]}.npy", np.ones((10, 3), np.float32))
    (folder/"dataset.toml").write_text("short_names = true\nwhole = true\n" + head)
    assert load_dataset("mine", tmp_path, features="own").ids == (ids[0],)

def test_a_copy_of_the_demo_set_has_its_sizes_in_its_own_folder(tmp_path, monkeypatch):
    from valor_lab.datasets import dataset_folder, describe_set, find_shipped
    from valor_lab.training import place, recipe
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    weak = WeakLabels(["a", "b"], np.eye(2, 25))
    (tmp_path/"data/mine/tiny").mkdir(parents=True)
    (tmp_path/"data/mine/dataset.toml").write_bytes(find_shipped("demo").read_bytes())
    for f in ("AVVP_train.csv", "AVVP_val_pd.csv", "AVVP_test_pd.csv"): weak.to_csv(tmp_path/"data/mine/tiny"/f)
    weak.copied().to_csv(tmp_path/"data/mine/tiny/AVVP_eval_audio.csv", tmp_path/"data/mine/tiny/AVVP_eval_visual.csv")
    data = load_dataset("mine", split="val", features=None, size="tiny")
    assert data.name == "mine (tiny)" and data.truth.ids == ("a", "b") and dataset_folder("mine", "data", "tiny") == tmp_path/"data/mine/tiny"
    assert place("mine", "tiny") == describe_set("mine", size="tiny").place == "mine-tiny" and recipe("mine").prepare.keywords == dict(name="mine")
    with pytest.raises(ParameterError, match="size"): load_dataset("mine", split="val", features=None, size="huge")
    text = find_shipped("demo").read_text().partition("[sizes.small]")[0]                  # tiny alone: nobody has to say it
    (tmp_path/"data/mine/dataset.toml").write_text(text)
    assert load_dataset("mine", split="val", features=None).name == "mine (tiny)" and list(recipe("mine").sizes) == ["tiny"]

def test_several_kinds_of_features_are_asked_for_by_name_and_one_may_stand_for_anothers(tmp_path):
    from valor_lab.training import recipe
    (tmp_path/"mine/a").mkdir(parents=True), (tmp_path/"mine/b").mkdir()
    part = lambda f, d: f"audio = {{ folder = '{f}', shape = [4, {d}] }}\nvisual = {{ folder = '{f}', shape = [4, {d}] }}\n"
    (tmp_path/"mine/dataset.toml").write_text("n_segments = 4\n[events.Dog]\n[splits]\ntrain = 'weak.csv'\n[features.mine]\ninstead_of = ['classic']\n" + part("a", 3)
                                              + "[features.other]\n" + part("b", 5))
    (tmp_path/"mine/weak.csv").write_text("clip,event\nx,Dog\n")
    np.save(tmp_path/"mine/a/x.npy", np.ones((4, 3), np.float32)), np.save(tmp_path/"mine/b/x.npy", np.ones((4, 5), np.float32))
    assert recipe("mine", tmp_path).instead == {"classic": "mine"}
    from valor_lab.training import for_dataset, override, preset
    config = for_dataset(preset("han"), "mine", root=tmp_path)
    assert config.features == "mine" and override(config, dict(epochs=2)).features == "mine" and override(preset("han"), dict(features="other")).features == "other"
    with pytest.raises(ParameterError, match="features='clasic'"): override(preset("han"), dict(features="clasic"))
    assert load_dataset("mine", tmp_path, features="mine").features["audio"].shape == (1, 4, 3)
    assert load_dataset("mine", tmp_path, features="other").features["audio"].shape == (1, 4, 5)
    with pytest.raises(ParameterError, match="choose one of 'mine', 'other', 'store'"): load_dataset("mine", tmp_path, features="classic")
