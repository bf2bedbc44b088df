"""Features that are not pooled: 80 pictures, 64 tokens, maps of 7 × 7 places, in single files and in AVE's HDF5."""
import numpy as np
import pytest

torch = pytest.importorskip("torch")
h5py = pytest.importorskip("h5py")
from valor_lab import training
from valor_lab.core import ParameterError
from valor_lab.datasets import describe_set, find_features, load_dataset, open_rows, read_features, read_maps
from valor_lab.vocab import AVE


def described(folder, visual, n=3, t=10, d=6, rows=80, made=None):
    "A described set of `n` clips whose visual files have `rows` rows."
    (folder/"kitchen"/"a").mkdir(parents=True), (folder/"kitchen"/"v").mkdir()
    (folder/"kitchen"/"dataset.toml").write_text(f"n_segments = {t}\n[events.Dog]\n[events.Rain]\n[splits]\ntrain = \"weak.csv\"\n[features]\n"
                                                 f"audio = {{ folder = \"a\", shape = [{t}, 5] }}\nvisual = {visual}\n")
    (folder/"kitchen"/"weak.csv").write_text("clip,event\n" + "".join(f"clip{i},Dog\n" for i in range(n)))
    rng = np.random.default_rng(0)
    for i in range(n):
        np.save(folder/"kitchen"/"a"/f"clip{i}.npy", rng.normal(size=(t, 5)).astype(np.float32))
        np.save(folder/"kitchen"/"v"/f"clip{i}.npy", rng.normal(size=(rows, d) if made is None else made).astype(np.float32))
    return folder


def test_frames_come_as_the_file_has_them_and_pooled_under_the_other_name(tmp_path):
    root = described(tmp_path, '{ folder = "v", shape = [80, 6] }')
    whole, mean = (load_dataset("kitchen", root, "train", k).features["visual"] for k in ("own-frames", "own"))
    assert whole.shape == (3, 80, 6) and mean.shape == (3, 10, 6) and isinstance(whole, np.memmap)
    assert np.allclose(np.asarray(whole, np.float32).reshape(3, 10, 8, 6).mean(2), mean, atol=4e-3)
    tensors = training.find_task("avvp").tensors(load_dataset("kitchen", root, "train", "own-frames"))
    assert tensors["visual"].shape == (3, 80, 6) and tensors["audio"].shape == (3, 10, 5)


@pytest.mark.parametrize("visual,rows,kind,says", [
    ('{ folder = "v", shape = [10, 6] }', 10, "frames", r"kitchen has no frames: its visual features are \[10, 6\]"),
    ('"store"', 10, "frames", "no frames: its visual features are the store"),
    ('{ folder = "v", shape = [80, 6] }', 80, "places", "no places"), ('{ folder = "v", shape = [80, 6] }', 80, "tokens", "no tokens: its audio")])
def test_a_set_without_them_is_refused_in_one_sentence(tmp_path, visual, rows, kind, says):
    root = described(tmp_path, visual, rows=rows)
    with pytest.raises(ParameterError, match=says) as e: load_dataset("kitchen", root, "train", training.recipe("kitchen", root).instead[kind])
    assert "\n" not in str(e.value)


def test_places_come_as_maps_and_averaged_for_other_networks(tmp_path):
    root = described(tmp_path, '{ folder = "v", shape = [10, 7, 7, 6] }', made=(10, 7, 7, 6))
    whole, mean = (load_dataset("kitchen", root, "train", k).features["visual"] for k in ("own-places", "own"))
    assert whole.shape == (3, 10, 7, 7, 6) and np.allclose(np.asarray(whole, np.float32).mean((2, 3)), mean, atol=4e-3)
    np.save(root/"kitchen"/"v"/"clip1.npy", np.zeros((10, 7, 6, 6), np.float32))
    with pytest.raises(ParameterError, match=r"clip1.npy: shape \[10, 7, 6, 6\]"): load_dataset("kitchen", root, "train", "own-places")


def test_a_map_in_a_description_is_seven_by_seven(tmp_path):
    with pytest.raises(ParameterError, match="7, 7"): load_dataset("kitchen", described(tmp_path, '{ folder = "v", shape = [10, 6, 6, 6] }'), "train", None)


@pytest.mark.parametrize("kind", ["frames", "tokens", "places"])
def test_llp_without_such_files_says_what_is_wanted(tmp_path, kind, data):
    import shutil
    shutil.copytree(data("llp"), tmp_path/"llp")
    with pytest.raises(FileNotFoundError, match="80, 2048|64, 768|7, 7, 512"): load_dataset("llp", tmp_path, "val", kind)


def test_a_stream_too_large_for_the_memory_stays_on_the_disk_and_gives_the_same_rows(tmp_path, monkeypatch):
    from valor_lab.training import tasks
    data = load_dataset("kitchen", described(tmp_path, '{ folder = "v", shape = [80, 6] }'), "train", "own-frames")
    inside = tasks.on_device(data)
    monkeypatch.setattr(tasks, "IN_MEMORY", 0)
    outside, rows = tasks.on_device(data), torch.tensor([2, 0])
    assert isinstance(outside["visual"], tasks.OnDisk) and torch.equal(tasks.take(outside, rows)["visual"], tasks.take(inside, rows)["visual"])


# -- AVE's two files

@pytest.fixture
def ave(tmp_path):
    "A made-up AVE of six clips with the two files, in the order of Annotations.txt."
    lines = [f"{AVE.events[i % 3]}&video{i:06d}&good&{i % 3}&{i % 3 + 5}" for i in range(12)]
    (folder := tmp_path/"ave").mkdir()
    (folder/"Annotations.txt").write_text("Category&VideoID&Quality&StartTime&EndTime\n" + "\n".join(lines))
    order = np.random.default_rng(1).permutation(12)
    for s, part in zip(("train", "val", "test"), (order[:6], order[6:9], order[9:])):
        (folder/f"{s}Set.txt").write_text("\n".join(lines[i] for i in part))
        with h5py.File(folder/f"{s}_order.h5", "w") as f: f["order"] = part
    for name, shape in (("audio", (10, 128)), ("visual", (10, 7, 7, 512))):
        with h5py.File(folder/f"{name}_feature.h5", "w") as f:
            x = f.create_dataset("avadataset", (12, *shape), "f4", chunks=(1, *shape))
            for i in range(12): x[i] = i/12
    return tmp_path


def test_rows_are_found_by_the_line_in_the_list(ave):
    d = load_dataset("ave", ave, "train", "places")
    row = [int(c[5:11]) for c in d.ids]
    assert d.features["visual"].shape == (6, 10, 7, 7, 512) and d.features["audio"].shape == (6, 10, 128)
    assert np.allclose(d.features["visual"][:, 0, 0, 0, 0], np.array(row)/12, atol=1e-3) and np.allclose(d.features["audio"][:, 0, 0], np.array(row)/12, atol=1e-3)


def test_files_of_another_order_or_count_are_refused(ave):
    with h5py.File(ave/"ave"/"val_order.h5", "w") as f: f["order"] = np.arange(3)
    with h5py.File(ave/"ave"/"train_order.h5", "a") as f: del f["order"]; f["order"] = np.arange(6) + 50
    with pytest.raises(ParameterError, match="train_order.h5 names 6 rows"): load_dataset("ave", ave, "train", "places")
    with h5py.File(ave/"ave"/"audio_feature.h5", "w") as f: f["avadataset"] = np.zeros((5, 10, 128))
    with pytest.raises(ParameterError, match="5 rows, expected 12"): load_dataset("ave", ave, "test", "places")


@pytest.mark.parametrize("spoil,says", [
    (lambda f: f.__setitem__("avadataset", np.zeros((12, 10, 512))), r"\[12, 10, 512\], expected \[N, 10, 7, 7, 512\]"),
    (lambda f: f.__setitem__("avadataset", np.zeros((12, 8, 7, 7, 512), np.float16)), "expected"),
    (lambda f: f.__setitem__("avadataset", h5py.ExternalLink("/etc/hostname", "/x")), "a link"),
    (lambda f: f.__setitem__("avadataset", h5py.SoftLink("/nowhere")), "no array|a link"),
    (lambda f: f.create_group("avadataset"), "a group"),
    (lambda f: f.create_dataset("avadataset", (12,), h5py.string_dtype()), "expected numbers|expected"),
    (lambda f: None, "holds nothing")])
def test_a_file_of_another_kind_is_refused(ave, spoil, says):
    with h5py.File(ave/"ave"/"visual_feature.h5", "w") as f: spoil(f)
    with pytest.raises(ParameterError, match=says): load_dataset("ave", ave, "train", "places")


def test_an_array_in_other_files_and_values_that_are_none_are_refused(tmp_path):
    with h5py.File(tmp_path/"x.h5", "w") as f:
        layout = h5py.VirtualLayout((2, 3), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "x", (2, 3))
        f.create_virtual_dataset("avadataset", layout)
        f.create_dataset("raw", (2, 3), "f4", external=[("/etc/hostname", 0, 24)])
        f["nan"] = np.full((2, 3), np.nan)
        f["large"] = np.full((2, 3), 1e6)
    for name, says in (("", "other files"), ("raw", "other files"), ("nan", "row 1 holds NaN"), ("large", "65504")):
        with pytest.raises(ParameterError, match=says): read_maps(tmp_path/"x.h5", [1], (3,), name=name)
    (tmp_path/"y.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0"*50)
    with pytest.raises(ParameterError, match="y.h5"), open_rows(tmp_path/"y.h5", (3,)): pass


def test_one_of_the_two_files_alone_is_an_error(ave):
    (ave/"ave"/"audio_feature.h5").unlink()
    with pytest.raises(FileNotFoundError, match="both are needed"): load_dataset("ave", ave, "train", "places")


def test_the_command_trains_the_networks_on_places_on_the_published_layout(ave, monkeypatch, capsys):
    pytest.importorskip("papermill")
    from valor_lab.cli import main
    work = ave.parent/"work"
    (work/"data").mkdir(parents=True)
    (work/"valor.toml").write_text("")
    (ave/"ave").rename(work/"data"/"ave")
    monkeypatch.setenv("VALOR_ROOT", str(work))
    monkeypatch.chdir(work)
    assert main(["train", "ave", "--preset", "psp,cmran-full,cmbs", "--epochs", "1", "--device", "cpu"]) == 0
    runs = training.find_runs(work/"runs", "ave")
    assert {r.config.preset for r in runs} == {"psp", "cmran-full", "cmbs"} and all("accuracy" in r.scores["test"] for r in runs)
    assert main(["train", "ave", "--preset", "ave-han", "--epochs", "1", "--device", "cpu"]) != 0        # it wants CLAP and CLIP, which are not here


def test_the_demo_set_has_no_places_and_says_so(tmp_path):
    with pytest.raises(ParameterError, match="demo .tiny. has no places"): find_features(describe_set("demo", tmp_path, "tiny"), ["a"], "places", None)
