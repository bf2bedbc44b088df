"""Kill every writer at random moments, fill its disk, let two of them race: what was reported as saved must be there, and everything must be readable.

`python tests/kill_writers.py [WRITER ...]` does 20 kills, a full disk and 50 races of each; test_writers.py does a few of them. Each writer is a forked child, so that imports
are paid once. A child reports a save by one line in a ledger, after the call has returned; the parent kills it, reads everything again, and counts. Prints one line a writer."""
import contextlib, hashlib, http.server, json, os, random, shutil, signal, subprocess, sys, tempfile, threading, time
from pathlib import Path

import numpy as np

from valor_lab import core
from valor_lab.core import CannotWrite, FetchError, ParameterError, download
from valor_lab.datasets import load_labels, save_labels
from valor_lab.files import Held, Overtaken, kept, lock, mark, read_json
from valor_lab.harvest import Thresholds
from valor_lab.labels import Overlay, SegmentLabels, open_overlay
from valor_lab.vocab import LLP
from valor_lab.workbench import jobs
import requests, tqdm.auto, valor_lab.training                      # noqa: before the forks

os.environ["TQDM_DISABLE"] = "1"
TRUTH = SegmentLabels(["a", "b"], np.zeros((2, 10, 25), bool), np.zeros((2, 10, 25), bool))


class Labels:
    "save_labels over one name."
    def save(self, folder, k):
        x = np.random.default_rng(k).random((60, 10, 25)) < .2
        save_labels(SegmentLabels([f"clip{i}" for i in range(60)], x, ~x), "mine", folder, dict(k=k))
    def read(self, folder):
        path = folder/"labels/mine/about.json"
        if not path.exists(): return None, set()
        x, k = load_labels("mine", folder), read_json(path)["about"]["k"]
        assert (x.audio == (np.random.default_rng(k).random((60, 10, 25)) < .2)).all()
        return k, {read_json(v["path"])["about"]["k"] for v in kept(path)}

class Strokes:
    "Overlay.save: each save adds one stroke."
    def save(self, folder, k):
        o = open_overlay("mine", TRUTH, folder=folder) if (folder/"mine.json").exists() else Overlay("mine", TRUTH)
        for c in range(10): o.paint("a", LLP.events[c], "audio", 0, 10, not o.clip_labels("a").audio[0, 0, c])
        o.edits[-1]["who"] = str(k)
        o.save(folder)
    def read(self, folder):
        if not (folder/"mine.json").exists(): return None, set()
        who = [e["who"] for e in open_overlay("mine", TRUTH, folder=folder).edits if e["who"].isdigit()]
        return int(who[-1]), set(map(int, who))

class Preset:
    "Thresholds.save, as the tuning panel does it."
    def save(self, folder, k): Thresholds(np.full(25, float(k)), np.zeros(25), LLP, dict(method="x" * 5000)).save(folder/"mine.toml", mark(folder/"mine.toml"))
    def read(self, folder):
        if not (folder/"mine.toml").exists(): return None, set()
        return int(Thresholds.load(folder/"mine.toml").clip[0]), {int(Thresholds.load(v["path"]).clip[0]) for v in kept(folder/"mine.toml")}

class Runs:
    "Claim a run's folder and write its scores; two with other settings want one folder."
    one = False
    def save(self, folder, k):
        from valor_lab.training import Run, claim, preset, write_json
        from dataclasses import replace
        run = Run(folder/("run" if self.one else f"run{k}"))
        with lock(run.path/"training", doing="is training it"):
            claim(run, replace(preset("han"), seed=k), dict(dataset="x"))
            write_json(run.path/"scores.json", dict(k=k, test={}))
    def read(self, folder):
        from valor_lab.training import open_run
        found = [(open_run(p).config.seed, open_run(p).scores["k"]) for p in folder.glob("run*") if (p/"scores.json").exists()]
        assert all(a == b for a, b in found), found
        return (found[-1][0] if found else None), {a for a, _ in found}

class Fetch:
    "core.download of a file of 2 MB that comes slowly."
    one = False
    def save(self, folder, k): download(f"{self.url}/{k % 3}", folder/("file" if self.one else f"file{k}"))
    def read(self, folder):
        found = {int(p.name[4:] or 0): p for p in folder.glob("file*") if not p.name.endswith(".part")}
        assert all(hashlib.sha256(p.read_bytes()).hexdigest() in self.digests for p in found.values()), "a damaged file is believed"
        return (max(found) if found else None), set(found) if not self.one else set(range(10**6)) if found else set()
    def __enter__(self):
        noise = [np.random.default_rng(i).bytes(2_000_000) for i in range(3)]
        self.digests = [hashlib.sha256(n).hexdigest() for n in noise]
        class Slow(http.server.BaseHTTPRequestHandler):
            def log_message(self, *a): pass
            def do_GET(self):
                n = int(self.path[1:])
                start = int(self.headers["Range"].split("=")[1][:-1]) if "Range" in self.headers else 0
                if start >= len(noise[n]): return self.send_error(416)
                self.send_response(206 if start else 200)
                for key, v in {"X-Linked-Etag": f'"{hashlib.sha256(noise[n]).hexdigest()}"', "Content-Length": len(noise[n]) - start}.items(): self.send_header(key, v)
                if start: self.send_header("Content-Range", f"bytes {start}-{len(noise[n]) - 1}/{len(noise[n])}")
                self.end_headers()
                with contextlib.suppress(OSError):
                    for i in range(start, len(noise[n]), 200_000): self.wfile.write(noise[n][i:i + 200_000]); time.sleep(.01)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
    def __exit__(self, *a): self.server.shutdown()

class Queue:
    "jobs.launch; what a guardian would do is left out."
    def save(self, folder, k):
        (folder/"nap.ipynb").touch()
        with contextlib.suppress(jobs.SameJob): jobs.launch(folder/"nap.ipynb", dict(k=k), f"j{k}", folder/"jobs")   # killed after it was written, before it was told
    def read(self, folder):
        found = jobs.list_jobs(folder/"jobs")
        assert "damaged" not in set(found.state), found
        ks = {int(n[1:]) for n in found.name}
        return (max(ks) if ks else None), ks
    def __enter__(self):
        os.environ["VALOR_JOBS"] = "2"
        real, self.began = subprocess.Popen, jobs._begin
        def begin(job, a, slot): jobs._update(job, slot=slot, **core.process(os.getppid()))
        jobs._begin = begin
    def __exit__(self, *a): jobs._begin = self.began

WRITERS = dict(labels=Labels, overlay=Strokes, preset=Preset, run=Runs, fetch=Fetch, queue=Queue)


def child(work) -> int:
    "Run `work` in a forked child; its process number."
    if pid := os.fork(): return pid
    try: core._machine.cache_clear(); core._SWEPT.clear(); work()
    except BaseException as e: os.write(2, f"{type(e).__name__}: {e}\n".encode()); os._exit(3)
    os._exit(0)

def note(ledger, *words):
    f = os.open(ledger, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(f, (json.dumps(words) + "\n").encode()), os.close(f)

def attempts(w, folder, ledger, ks):
    "Save each of `ks`, and note what came of it."
    for k in ks:
        try: w.save(folder, k); note(ledger, "saved", k)
        except (ParameterError, FetchError, OSError) as e: note(ledger, "told" if isinstance(e, ParameterError) else "failed", k, f"{type(e).__name__}: {e}"[:200])

def noted(ledger, what): return [l[1] for l in map(json.loads, ledger.read_text().splitlines() if ledger.exists() else []) if l[0] == what]

def kills(w, base, n, rng):
    "Kill a writer n times: saves that were reported and are gone, and times when something could not be read."
    folder, ledger, lost, unreadable, k = base/"kills", base/"kills.ledger", 0, 0, 0
    folder.mkdir()
    for _ in range(n):
        before = set(noted(ledger, "saved"))
        pid = child(lambda: attempts(w, folder, ledger, range(k, k + 10_000)))
        time.sleep(rng.uniform(.02, .5))
        os.kill(pid, signal.SIGKILL), os.waitpid(pid, 0)
        reported = noted(ledger, "saved")
        k = max([*reported, k - 1]) + 1
        try: now, there = w.read(folder)
        except Exception as e: unreadable += 1; print("  unreadable:", type(e).__name__, e, flush=True); continue
        new = [x for x in reported if x not in before][-8:]                # ten versions are kept: the last ones must all be there
        lost += len([x for x in new if x not in there])
    w.save(folder, k)                                                       # whatever was left behind, the next writer gets through
    return dict(kills=n, saved=len(noted(ledger, "saved")), lost=lost, unreadable=unreadable, left=strays(folder))

def strays(folder):
    "Half files and locks that stay after the last writer has gone."
    return sorted(p.name for p in folder.rglob(".*") if p.name != ".kept" and ".kept" not in str(p.relative_to(folder).parent))[:5]

def full_disk(w, base):
    "Save until the disk of 1.5 MB is full: everything reported is there and can be read, before and after there is room again."
    disk = base/"disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k" if not isinstance(w, Fetch) else "size=4096k", "none", str(disk)], capture_output=True).returncode: return dict(full="not tried: a file system cannot be mounted here")
    if isinstance(w, Fetch): w.one = True
    try:
        (disk/"ballast").write_bytes(bytes(900_000 if not isinstance(w, Fetch) else 3_000_000))
        ledger, lost = base/"disk.ledger", 0
        pid = child(lambda: attempts(w, disk, ledger, range(200)))
        os.waitpid(pid, 0)
        saved, said = noted(ledger, "saved"), [l for l in map(json.loads, ledger.read_text().splitlines()) if l[0] != "saved"]
        while True:                                                          # the last free block, too
            try:
                with open(disk/"ballast2", "ab") as f: f.write(bytes(512))
            except OSError: break
        os.waitpid(child(lambda: attempts(w, disk, ledger, range(200, 203))), 0)
        saved, said = noted(ledger, "saved"), [l for l in map(json.loads, ledger.read_text().splitlines()) if l[0] != "saved"]
        try: _, there = w.read(disk)
        except Exception as e: return dict(full=f"unreadable: {type(e).__name__} {e}")
        lost = len([x for x in saved[-8:] if x not in there])
        for b in ("ballast", "ballast2"): (disk/b).unlink(missing_ok=True)
        os.waitpid(child(lambda: attempts(w, disk, ledger, [900])), 0)
        after = 900 in noted(ledger, "saved")
        return dict(full=f"{len(saved)} saved, {len(said)} told, lost {lost}, goes on {'yes' if after else 'NO'}", full_lost=lost + (not after), said=said[0][2] if said else "")
    finally: w.one = False; subprocess.run(["umount", str(disk)], capture_output=True)

def races(w, base, n):
    "Two writers at one moment, n times: every save that was reported is there; the other one was told."
    if hasattr(w, "one"): w.one = True
    lost = unreadable = told = both = neither = 0
    for i in range(n):
        folder, ledger = base/f"race{i}", base/f"race{i}.ledger"
        folder.mkdir()
        gate = time.monotonic() + .06
        def one(k):
            while time.monotonic() < gate: pass
            attempts(w, folder, ledger, [k])
        for pid in [child(lambda k=k: one(k)) for k in (1, 2)]: os.waitpid(pid, 0)
        saved = noted(ledger, "saved")
        told, both, neither = told + len(noted(ledger, "told")), both + (len(saved) == 2), neither + (not saved)
        try: _, there = w.read(folder)
        except Exception as e: unreadable += 1; print("  unreadable:", type(e).__name__, e, flush=True); continue
        lost += len([x for x in saved if x not in there])
        shutil.rmtree(folder)
    if hasattr(w, "one"): w.one = False
    return dict(races=n, both_saved=both, told=told, neither=neither, race_lost=lost, race_unreadable=unreadable)

def trial(name, n_kills=20, n_races=50, seed=0, disk=True) -> dict:
    w = WRITERS[name]()
    with tempfile.TemporaryDirectory() as d, (w if hasattr(w, "__enter__") else contextlib.nullcontext()):
        (Path(d)/"first").mkdir()
        w.save(Path(d)/"first", 0)                                            # what is imported late is imported before the forks
        out = kills(w, Path(d), n_kills, random.Random(seed)) | races(w, Path(d), n_races)
        return dict(writer=name) | out | (full_disk(w, Path(d)) if disk else {})

def faults(found) -> int: return sum(found.get(k, 0) for k in ("lost", "unreadable", "race_lost", "race_unreadable", "neither", "full_lost")) + len(found["left"]) + found.get("full", "").startswith("unreadable")

if __name__ == "__main__":
    wrong = 0
    for name in sys.argv[1:] or WRITERS:
        found = trial(name)
        print(json.dumps(found), flush=True)
        wrong += faults(found)
    sys.exit(bool(wrong))
