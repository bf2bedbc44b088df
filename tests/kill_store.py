"""Kill what writes into a store: appending, upserting, compacting, converting, indexing. Four writers at once over overlapping clips; pairs that race; a full disk.

    python tests/kill_store.py [--kills 20] [--races 50] [--seed 0] [--work FOLDER]

Each victim is a process of its own, started fresh (the table's library cannot be forked). It says `ready` when everything is imported and,
after each commit, which clips are written; it is killed with -9 at a random moment. Then the store is opened: every clip that was reported is
there once, with its own numbers, and none cannot be read. Prints a JSON line for each kind; what is wrong names the trial, the moment of the
kill, what the victim had said and its last words. Every victim imports the library anew: while it is exported or edited, one may find half of it."""
import argparse, json, os, random, subprocess, sys, tempfile, threading, time, traceback, warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
T, D, N, BATCH = 10, 64, 400, 16


def settings():
    teacher = lambda name: dict(name=name, fingerprint=name, scale=10., width=D, config=None)
    return dict(format=2, n_segments=T, sampling="published", rate=48_000, audio=teacher("ear"), visual=teacher("eye"), features={})


def numbers(i, m):
    "The embeddings of clip `i`: anybody can say what they must be."
    import numpy as np
    return np.random.default_rng([i, m == "audio"]).normal(size=(T, D)).astype(np.float16)


def rows(which, half=False):
    from valor_lab.harvest import Row
    some = ("visual",) if half else ("audio", "visual")
    said = {"audio": "no audio stream"} if half else {}
    return [Row(f"clip{i:05d}", f"{i}.mp4", 10., {}, {m: numbers(i, m) for m in some}, dict(said)) for i in which]


def old_store(folder, n=N, bit=50):
    "A store as version 0.1 wrote it, by plain Arrow: shards, manifest, captions."
    import numpy as np, pyarrow as pa
    def tensor(x):
        flat = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x[0].size)
        return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.from_numpy_dtype(x.dtype), x.shape[1:]), flat)
    def write(file, note, **columns):
        batch = pa.record_batch({k: tensor(x) if isinstance(x, np.ndarray) else pa.array(x) for k, x in columns.items()})
        batch = batch.replace_schema_metadata({"notes": json.dumps(note)})
        with pa.OSFile(str(file), "wb") as f, pa.ipc.new_file(f, batch.schema) as out: out.write_batch(batch)
    folder.mkdir(parents=True)
    (folder/"manifest.json").write_text(json.dumps(settings() | dict(format=1)))
    for k in range(0, n, bit):
        which = range(k, min(n, k + bit))
        arrays = {m: np.stack([numbers(i, m) for i in which]) for m in ("audio", "visual")}
        silent = [i - k for i in which if i % 10 == 3]
        arrays["audio"][silent] = np.nan
        has = [i % 10 != 3 for i in which]
        ids = [f"clip{i:05d}" for i in which]
        notes = [[ids[s], "audio", "no audio stream"] for s in silent] + [[f"broken{k}", m, "empty"] for m in ("audio", "visual")]
        write(folder/f"{k//bit:05d}-{k//bit:05d}.arrow", notes, id=ids, path=[f"{i}.mp4" for i in which], duration=[10.]*len(ids),
              has_audio=has, has_visual=[True]*len(ids), **arrays)
    write(folder/"captions-visual.arrow", None, caption=["red", "green"], embedding=np.eye(D, dtype=np.float32)[:2])


def victim(kind, folder, first=0, step=1):
    "One process: import, say ready, wait for a word, write, and say what is written."
    import warnings
    import lance, pandas                                               # noqa: before the clock runs
    from valor_lab.core import ParameterError
    from valor_lab.harvest import FeatureStore, add_rows, begin_store, index_ids, tidy
    folder, made = Path(folder), settings()
    print("ready", flush=True)
    said = sys.stdin.readline()
    while kind in ("races", "disk") and said:                                               # one store after the other, until nobody asks any more
        folder, done = Path(json.loads(said)), []
        try:
            begin_store(folder, made)
            for k in range(first, 48 if kind == "races" else N, 8*step):
                add_rows(folder, rows(range(k, k + 12)), made)
                done += range(k, k + 12)
                if kind == "races": tidy(folder, fragments=2), index_ids(folder, least=4)
            print(json.dumps([done, ""]), flush=True)
        except ParameterError as e: print(json.dumps([done, str(e)]), flush=True)
        said = sys.stdin.readline()
    if kind in ("append", "upsert", "writers"):
        begin_store(folder, made)
        for k in range(first, N, BATCH*step):
            which = range(k, min(N, k + BATCH*(2 if kind == "writers" else 1)))           # the four overlap by half
            add_rows(folder, rows(which), made)
            print(json.dumps([min(which), max(which) + 1]), flush=True)
            if kind == "writers": tidy(folder, fragments=4)                               # and they tidy at once, too
    elif kind == "compact": tidy(folder, fragments=2)
    elif kind == "index":
        for k in range(8): index_ids(folder, least=2), add_rows(folder, rows(range(N + k*BATCH, N + k*BATCH + BATCH)), made)
    elif kind == "convert":
        warnings.simplefilter("ignore")
        FeatureStore.open(folder)
    print("done", flush=True)


class Victim:
    "One process of a kind. What it says is read by two threads, so that no line is lost and no pipe fills up."
    def __init__(self, kind, *args):
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.p = subprocess.Popen([sys.executable, "-W", "ignore", __file__, "--victim", kind, *map(str, args)], text=True, **pipes)
        self.lines, self.at, self.last, self.more = [], [], [], threading.Condition()
        self.readers = [threading.Thread(target=f, daemon=True) for f in (self._listen, self._last_words)]
        for r in self.readers: r.start()
    def _listen(self):
        for line in self.p.stdout:
            with self.more: self.lines.append(line.rstrip("\n")), self.at.append(time.monotonic()), self.more.notify_all()
        with self.more: self.lines.append(None), self.more.notify_all()                   # it has ended
    def _last_words(self): self.last.extend(self.p.stderr)
    def words(self): return f"exit {self.p.poll()}: " + "".join(self.last)[-600:]
    def line(self, n):
        "Its `n`-th line; an error with its last words if it ended before."
        with self.more: self.more.wait_for(lambda: len(self.lines) > n or None in self.lines, 600)
        if n >= len(self.lines) or self.lines[n] is None:
            self.end()
            raise RuntimeError(f"the victim did not say line {n} but {self.lines[-3:]}, {self.words()}")
        return self.lines[n]
    def say(self, word):
        self.p.stdin.write(f"{word}\n"), self.p.stdin.flush()
        return self
    def run(self):
        "Wait until it is ready, and let it go."
        assert self.line(0) == "ready"
        self.say("go")
        return time.monotonic()
    def end(self, kill=False):
        "Wait for its end, killed or not; all that it said after `ready`."
        if kill: self.p.kill()
        self.p.stdin.close(), self.p.wait(600)
        for r in self.readers: r.join(60)
        return [x for x in self.lines[1:] if x]


def check(folder, reported, at_least=0, silent=lambda i: False):
    "What is wrong with the store: clips lost, doubled, with other numbers, or unreadable."
    import numpy as np
    from valor_lab.harvest import FeatureStore, has_store
    if not has_store(folder): return [f"lost the store with {len(reported)} clips"] if reported or at_least else []
    try:
        s = FeatureStore.open(folder)
        ids, audio, visual = s.ids, s.audio, s.visual
    except Exception as e: return [f"unreadable: {e}"]
    wrong = [f"lost {i}" for i in reported - set(ids)] + [f"twice {i}" for i in set(ids) if ids.count(i) > 1]
    if len(ids) < at_least: wrong.append(f"{len(ids)} clips, {at_least} were there")
    for r, i in enumerate(ids):
        n = int(i[4:])
        full = s.has_audio[r]
        right = np.array_equal(visual[r], numbers(n, "visual")) and (not full or np.array_equal(audio[r], numbers(n, "audio")))
        if not right: wrong.append(f"other numbers {i}")
        if not full and not silent(n): wrong.append(f"no sound {i}")
    return wrong


def prepare(kind, folder):
    "What is there before the victim starts."
    from valor_lab.harvest import add_rows, begin_store
    if kind == "convert": old_store(folder)
    if kind in ("upsert", "compact", "index"):
        begin_store(folder, settings())
        for k in range(0, N, 50): add_rows(folder, rows(range(k, k + 50), half=kind == "upsert"), settings())


def kill(kind, kills, seed, work):
    "Kill one kind of writer again and again, each at another moment, then let it finish."
    rng, wrong, middle, length, commits = random.Random(seed), [], 0, None, 0
    clips = lambda said: {f"clip{i:05d}" for line in said if line.startswith("[") for i in range(*json.loads(line))}
    for trial in range(kills + 1):
        folder = work/f"{kind}{trial}"
        prepare(kind, folder)
        v = Victim(kind, folder)
        began = v.run()
        if not trial:                                                                       # the first one lives, to know how long
            said = v.end()
            length, commits = v.at[-1] - began, len(said) - 1
            if "done" not in said: wrong.append(f"{kind} without a kill: {v.words()}")
        else:
            if commits > 0: v.line(rng.randrange(commits)), time.sleep(rng.uniform(0, length/commits))     # after some commits, and a bit
            else: time.sleep(rng.uniform(0, length))
            at = time.monotonic() - began
            said = v.end(kill=True)
        reported = clips(said)
        middle += "done" not in said and bool(reported or kind in ("compact", "convert", "index"))
        old = kind in ("upsert", "compact", "convert", "index")
        half = dict(convert=lambda i: i % 10 == 3, upsert=lambda i: f"clip{i:05d}" not in reported).get(kind, lambda i: False)
        found = check(folder, reported, N if old else 0, half)
        if trial and trial % 4 == 0:                                                         # and again, to the end
            again = Victim(kind, folder)
            again.run()
            if "done" not in again.end(): found.append(f"it could not go on: {again.words()}")
            found += check(folder, {f"clip{i:05d}" for i in range(N)}, N, half if kind == "convert" else lambda i: False)
        when = f"{kind}, trial {trial}, " + (f"killed after {at:.3f} of {length:.3f} s, {len(said)} lines said" if trial else "not killed")
        wrong += [f"{when}: {w}; {v.words()}" for w in found]
    return dict(kind=kind, kills=kills, seconds=round(length, 2), hit_in_the_middle=middle, wrong=wrong[:5], faults=len(wrong))


def ask(v, folder, n):
    "Send the writer to its `n`-th store."
    v.line(n - 1)
    return v.say(json.dumps(str(folder)))


def races(work, n):
    "Two writers at one moment over clips that overlap, tidying and indexing at once, n times."
    wrong, told = [], 0
    vs = [Victim("races", work/"none", first, 2) for first in (0, 8)]
    for v in vs: v.line(0)
    for k in range(1, n + 1):
        said = [json.loads(v.line(k)) for v in [ask(v, work/f"race{k}", k) for v in vs]]
        told += sum(bool(why) for _, why in said)
        found = check(work/f"race{k}", {f"clip{i:05d}" for done, _ in said for i in done}) + [f"it was told: {why}" for _, why in said if why]
        wrong += [f"race {k}: {w}" for w in found]
    for v in vs: v.end(kill=True)
    return dict(kind="races of two", races=n, told=told, wrong=wrong[:5], faults=len(wrong))


def full_disk(work):
    "A writer into a small file system until it is full: it is told, what it had reported is there, and with room again it goes on."
    disk = work/"disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True).returncode:
        return dict(kind="full disk", faults=0, wrong="not tried: a file system cannot be mounted here")
    v = Victim("disk", work/"none")
    try:
        v.line(0)
        (disk/"ballast").write_bytes(bytes(700_000))
        done, why = json.loads(ask(v, disk/"store", 1).line(1))
        wrong = check(disk/"store", {f"clip{i:05d}" for i in done}) + ([] if "full" in why else [f"it was not told: {why}"])
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        again, more = json.loads(ask(v, disk/"store", 2).line(2))
        wrong += check(disk/"store", {f"clip{i:05d}" for i in again}) + [f"with room again: {more}"]*bool(more)
        return dict(kind="full disk", reported=len(set(done)), told=why.replace(str(work), ""), afterwards=len(set(again)), wrong=wrong[:5], faults=len(wrong))
    finally:
        v.end(kill=True)                                                                     # who holds a file open holds the disk
        subprocess.run(["umount", str(disk)], capture_output=True).returncode and subprocess.run(["umount", "-l", str(disk)], capture_output=True)


def four(seed, work, n=4):
    "Four writers at once, each over clips that the next one writes too."
    folder = work/"writers"
    vs = [Victim("writers", folder, BATCH*k, n) for k in range(n)]
    for v in vs: v.line(0)
    for v in vs: v.say("go")
    said = [v.end() for v in vs]
    reported = [f"clip{i:05d}" for lines in said for line in lines if line.startswith("[") for i in range(*json.loads(line))]
    wrong = [f"writer {k} after {len(lines)} lines: {v.words()}" for k, (v, lines) in enumerate(zip(vs, said)) if "done" not in lines]
    wrong += check(folder, set(reported))
    return dict(kind="four writers", reported=len(reported), clips=len(set(reported)), wrong=wrong[:5], faults=len(wrong))


def tried(kind, what):
    "What a kind found; an error of the trial itself is a fault of that kind, with where it was."
    try: return what()
    except Exception: return dict(kind=kind, wrong=[traceback.format_exc()[-2000:]], faults=1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--victim"]: victim(*sys.argv[2:4], *map(int, sys.argv[4:]))
    else:
        parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
        parser.add_argument("--kills", type=int, default=20)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--races", type=int, default=50)
        parser.add_argument("--kinds", default="append,upsert,compact,convert,index,writers,races,disk")
        parser.add_argument("--work", type=Path)
        a = parser.parse_args()
        wrong = 0
        warnings.simplefilter("ignore")                                                      # that an old store was converted
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as tmp:
            work = a.work or Path(tmp)
            for kind in a.kinds.split(","):
                found = tried(kind, {"writers": lambda: four(a.seed, work), "races": lambda: races(work, a.races), "disk": lambda: full_disk(work)}.get(
                    kind, lambda: kill(kind, a.kills, a.seed, work)))
                print(json.dumps(found), flush=True)
                wrong += found["faults"]
        sys.exit(bool(wrong))
