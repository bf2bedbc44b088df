"""Fetching, against servers on loopback: checked, resumed, refused, and plain words when nobody answers."""
import hashlib, http.server, stat, threading, zipfile
from functools import partial
from pathlib import Path

import numpy as np, pytest

from valor_lab.cli import main
from valor_lab.datasets import fetch
from valor_lab.core import ParameterError

class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass

@pytest.fixture
def serve():
    servers = []
    def start(folder, handler=Handler):
        s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        threading.Thread(target=s.serve_forever, daemon=True).start()
        servers.append(s)
        return f"http://127.0.0.1:{s.server_port}"
    yield start
    for s in servers: s.shutdown(), s.server_close()

def test_the_sums_are_those_of_the_files_at_hand(data):
    for name, digest in fetch.LLP_FILES.items(): assert hashlib.sha256((data("llp")/name).read_bytes()).hexdigest() == digest, name

def test_annotations_arrive_whole_and_checked(serve, data, tmp_path):
    folder = fetch.fetch_annotations(tmp_path, serve(data("llp")) + "/")
    assert sorted(p.name for p in folder.iterdir()) == sorted(fetch.LLP_FILES)

def test_a_changed_file_is_refused_and_not_kept(serve, tmp_path):
    (tmp_path/"public").mkdir()
    (tmp_path/"public"/"AVVP_train.csv").write_text("something else")
    with pytest.raises(fetch.FetchError, match="AVVP_train.csv .* not the file that was published"):
        fetch.fetch_annotations(tmp_path/"data", serve(tmp_path/"public") + "/", {"AVVP_train.csv": "0" * 64})
    assert not list((tmp_path/"data").rglob("AVVP*"))

def test_a_file_that_somebody_corrected_by_hand_is_left_alone(serve, data, tmp_path):
    url = serve(data("llp")) + "/"
    mine = fetch.fetch_annotations(tmp_path, url)/"AVVP_eval_audio.csv"
    mine.write_text(mine.read_text() + "x_0_10\t0\t1\tDog\n")
    with pytest.raises(fetch.FetchError, match="AVVP_eval_audio.csv .* left as it is"): fetch.fetch_annotations(tmp_path, url)
    assert mine.read_text().endswith("x_0_10\t0\t1\tDog\n")

def test_when_nobody_answers_the_message_names_file_source_and_folder(tmp_path):
    with pytest.raises(fetch.FetchError) as e: fetch.fetch_annotations(tmp_path, "http://127.0.0.1:9/")
    assert all(p in str(e.value) for p in ("AVVP_train.csv", "http://127.0.0.1:9/", str(tmp_path/"llp"), "by hand"))

@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a\\..\\..\\evil"])
def test_an_archive_that_leads_outside_is_refused_as_a_whole(tmp_path, name):
    with zipfile.ZipFile(tmp_path/"x.zip", "w") as z: z.writestr("good", b"1"), z.writestr(name, b"2")
    with pytest.raises(ParameterError, match="outside"): fetch.unpack(tmp_path/"x.zip", tmp_path/"out"/"deep")
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "x.zip"]

def test_links_and_bombs_are_refused(tmp_path):
    info = zipfile.ZipInfo("link"); info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path/"x.zip", "w") as z: z.writestr(info, "/etc/passwd")
    with pytest.raises(ParameterError, match="link"): fetch.unpack(tmp_path/"x.zip", tmp_path/"out")
    with zipfile.ZipFile(tmp_path/"y.zip", "w", zipfile.ZIP_DEFLATED) as z: z.writestr("big", bytes(10_000_000))
    with pytest.raises(ParameterError, match="GiB"): fetch.unpack(tmp_path/"y.zip", tmp_path/"out", max_bytes=1000)

def test_unpacking_goes_on_where_it_stopped(tmp_path):
    with zipfile.ZipFile(tmp_path/"x.zip", "w") as z:
        for i in range(3): z.writestr(f"CLIP/features/{i}.npy", bytes([i]) * 9)
    fetch.unpack(tmp_path/"x.zip", tmp_path/"out")
    whole, half = tmp_path/"out"/"CLIP"/"features"/"0.npy", tmp_path/"out"/"CLIP"/"features"/"1.npy"
    before = whole.stat().st_mtime_ns
    half.write_bytes(b"123")
    fetch.unpack(tmp_path/"x.zip", tmp_path/"out")
    assert half.read_bytes() == bytes([1]) * 9 and whole.stat().st_mtime_ns == before

class Hub(http.server.BaseHTTPRequestHandler):
    "As much of the hub as a download asks for; the first answer breaks off in the middle."
    broken, ranges = set(), []
    def __init__(self, *args, directory): self.folder = Path(directory); super().__init__(*args)
    def log_message(self, *args): pass
    def do_HEAD(self): self.answer(body=False)
    def do_GET(self): self.answer(body=True)
    def answer(self, body):
        parts = self.path.split("?")[0].split("/resolve/")
        path = self.folder/parts[-1].split("/", 1)[-1].replace("%2B", "+")
        if len(parts) != 2 or not path.is_file(): return self.send_error(404)
        data, asked = path.read_bytes(), self.headers.get("Range")
        start = int(asked.split("=")[1].split("-")[0]) if asked else 0
        self.send_response(206 if start else 200)
        for k, v in {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"',
                     "Content-Length": len(data) - start, "Accept-Ranges": "bytes"}.items():
            self.send_header(k, v)
        if start: self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if not body: return
        if asked: Hub.ranges.append(start)
        if path.name not in Hub.broken and len(data) > 100_000:
            Hub.broken.add(path.name)
            self.wfile.write(data[:len(data) // 2])
            return self.connection.close()
        self.wfile.write(data[start:])

def test_released_archives_go_on_where_they_stopped_and_are_unpacked(serve, tmp_path):
    public = tmp_path/"public"; public.mkdir()
    noise = np.random.default_rng(0).bytes(5_000_000)
    for name in ("CLIP", "CLAP"):
        with zipfile.ZipFile(public/f"{name}.zip", "w") as z: z.writestr(f"{name}/features/aaaaaaaaaaa.npy", noise)
    url = serve(public, Hub)
    for name in ("CLIP", "CLAP"):
        with pytest.raises(fetch.FetchError, match=f"{name}.zip could not be fetched"):
            fetch.fetch_release("valor-features", tmp_path/"data", url)
    fetch.fetch_release("valor-features", tmp_path/"data", url)
    for name in ("CLIP", "CLAP"): assert (tmp_path/"data"/"llp"/name/"features"/"aaaaaaaaaaa.npy").read_bytes() == noise
    assert len(Hub.ranges) == 2 and min(Hub.ranges) > 1_000_000, "the second request began at the start again"
    assert not list((tmp_path/"data").rglob("*.part"))

def test_a_file_that_arrived_damaged_is_thrown_away(serve, tmp_path):
    (tmp_path/"public").mkdir(); (tmp_path/"public"/"x.bin").write_bytes(b"good" * 10)
    (tmp_path/"x.bin.part").write_bytes(b"bad!")
    with pytest.raises(fetch.FetchError, match="damaged"):
        fetch.download(serve(tmp_path/"public", Hub) + "/r/resolve/main/x.bin", tmp_path/"x.bin")
    assert not (tmp_path/"x.bin").exists() and not (tmp_path/"x.bin.part").exists()

def test_a_hub_that_cannot_be_reached_is_one_message(tmp_path, capsys):
    assert main(["fetch", "valor-checkpoints", "--root", str(tmp_path), "--url", "http://127.0.0.1:9"]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("valor fetch: ")]
    assert len(said) == 1 and all(p in said[0] for p in ("model_VALOR/checkpoint_best.pt", "NTUBarista/valor_trained_models",
                                                         str(tmp_path/"checkpoints"))), said

def test_clips_are_cut_and_what_is_gone_is_in_the_ledger(serve, tmp_path):
    av = pytest.importorskip("av")
    from valor_lab.media import write_clip
    (tmp_path/"public").mkdir()
    # brighter by 20 each second
    frames = np.repeat(np.arange(0, 240, 2, dtype=np.uint8)[:, None, None, None], 3, 3).repeat(64, 1).repeat(64, 2)
    write_clip(tmp_path/"public"/"aaaaaaaaaaa.mp4", frames, np.zeros(12 * 48_000, np.float32), fps=10)
    url = serve(tmp_path/"public") + "/{video}.mp4"
    ids = ["aaaaaaaaaaa_5_10", "bbbbbbbbbbb_0_10", "aaaaaaaaaaa_60_70"]
    ledger = fetch.fetch_videos(ids, tmp_path/"videos", url, workers=1).set_index("clip")
    assert ledger.state.tolist() == ["here", "gone", "gone"] and "ends before second 60" in ledger.reason["aaaaaaaaaaa_60_70"]
    with av.open(str(tmp_path/"videos"/"aaaaaaaaaaa_5_10.mp4")) as c:
        bright = [f.to_ndarray(format="gray").mean() for f in c.decode(video=0)]
        assert len(bright) == 50 and abs(c.duration / av.time_base - 5) < .1
    assert abs(bright[0] - 100) < 6 and abs(bright[-1] - 198) < 6
    # nothing is asked again
    assert fetch.fetch_videos(ids, tmp_path/"videos", "http://127.0.0.1:9/{video}", workers=1).set_index("clip").state.equals(ledger.state)

@pytest.mark.parametrize("reason,gone", [
    ("[youtube] BjCEufrlXm4: Private video. Sign in if you've been granted access", True),
    ("[youtube] BjCEufrlXm4: Video unavailable", True),
    ("[generic] x: Unable to download webpage: HTTP Error 404: Not Found (caused by ...)", True), ("the film ends before second 60", True),
    ("[youtube] BjCEufrlXm4: Video unavailable. This content isn't available, try again later.", False),
    ("[youtube] a404cdefghi: Failed to resolve the host", False),
    ("[youtube] BjCEufrlXm4: Resource temporarily unavailable", False),
    ("[youtube] BjCEufrlXm4: Sign in to confirm you're not a bot", False), ("[youtube] x: HTTP Error 503: Service Unavailable", False)])
def test_only_what_asking_again_cannot_bring_back_is_entered_as_gone(reason, gone): assert fetch._is_gone(reason) is gone

def test_one_broken_answer_does_not_end_the_others(serve, tmp_path):
    pytest.importorskip("av")
    (tmp_path/"public").mkdir()
    (tmp_path/"public"/"aaaaaaaaaaa.mp4").write_bytes(b"no film" * 1000)
    ledger = fetch.fetch_videos(["aaaaaaaaaaa_0_10", "not-an-id", "bbbbbbbbbbb_0_10"], tmp_path/"videos",
                                serve(tmp_path/"public") + "/{video}.mp4", workers=2).set_index("clip")
    assert ledger.state.tolist() == ["failed", "failed",
                                     "gone"] and not ledger.reason.str.contains(str(tmp_path)).any(), ledger.reason.tolist()

def test_videos_without_their_list_are_told_where_it_comes_from(tmp_path, capsys):
    assert main(["fetch", "llp-videos", "--root", str(tmp_path)]) == 2
    assert "AVVP_test_pd.csv does not exist. Fetch it first: valor fetch llp-annotations" in capsys.readouterr().err

def test_an_archive_may_not_write_beside_its_own_folder(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path/"CLIP.zip", "w") as z: z.writestr("CLIP/a", b"1"), z.writestr("AVVP_train.csv", b"2")
    fetch.unpack(tmp_path/"CLIP.zip", tmp_path/"out", within="CLIP")
    assert "AVVP_train.csv" in capsys.readouterr().out and [p.name for p in (tmp_path/"out").rglob("*") if p.is_file()] == ["a"]
    (tmp_path/"half.zip").write_bytes((tmp_path/"CLIP.zip").read_bytes()[:60])
    with pytest.raises(ParameterError, match="not a whole zip"): fetch.unpack(tmp_path/"half.zip", tmp_path/"out")

@pytest.mark.parametrize("clip", ["short", "BjCEufrlXm4", "BjCEufrlXm4_a_b", "BjCEufrlXm4-20-30", "../../aaaaa_0_10", "a/b/c/d/e/f_0_10"])
def test_an_id_of_another_form_is_refused(clip):
    with pytest.raises(ParameterError): fetch.split_id(clip)
