"""What the feature store costs: bytes written, two million rows, loading for training, search by words.

    python benchmarks/store.py [bytes] [rows] [load] [search] [--n 2100000] [--old FOLDER] [--work FOLDER]

`bytes`: 1,600 clips of CLAP's and CLIP's widths by eleven sessions (a harvest that was stopped ten times), and one more with nothing to do. `rows`: 2.1 million clips, AudioSet's
size, with embeddings of 10 x 104 and 10 x 8 numbers: the wall of the format before was 2^31 numbers in a column, and 2,100,000 x 1,040 is more. `load`: 10,000 of 12,000 clips as a
training takes them; with --old the same by the code in that folder, from a store of version 0.1, in the same run. `search`: 500,000 made-up seconds in clusters, exact and by index.
Times are on the clock; memory is the peak of a process of its own.
"""
import argparse, functools, json, os, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np

TEACHER = dict(fingerprint="made up", scale=100., config=None)


def settings(audio, visual):
    widths = dict(audio=audio, visual=visual)
    made = {m: dict(TEACHER, name=m, width=w) for m, w in widths.items()}
    return dict(format=2, n_segments=10, sampling="published", rate=48_000, **made, features={})


@functools.cache
def _noise(width, seed): return np.random.default_rng(seed).standard_normal((12_000, 10, width), np.float32).astype(np.float16)


def rows(which, made, seed=0):
    "Clips with random embeddings."
    from valor_lab.harvest import Row
    arrays = {m: np.roll(_noise(made[m]["width"], seed), which.start % 8191, 0)[:len(which)] for m in ("audio", "visual")}
    return [Row(f"{i:011d}_0_10", f"videos/{i:011d}.mp4", 10., {}, {m: x[n] for m, x in arrays.items()}) for n, i in enumerate(which)]


def block(which, made):
    "The same as one record batch, without a Python object for each clip."
    import pyarrow as pa
    from valor_lab.harvest import rows as table, marks_of
    n, schema, names = len(which), table.schema_of(made), table.small_columns(made)
    found = dict(id=pa.array([f"{i:011d}_0_10" for i in which]), path=pa.array([f"videos/{i:011d}.mp4" for i in which]),
                 duration=pa.array(np.full(n, 10.)), reasons=pa.array(["{}"]*n))
    for m in ("audio", "visual"):
        x = np.roll(_noise(made[m]["width"], 0), which.start % 8191, 0)[:n]
        found |= {f"{m}_start": pa.array(np.zeros(n)), f"{m}_end": pa.array(np.full(n, 10.)), f"mark {m}": pa.array(marks_of(x))}
        found[m] = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x[0].size)
    found["mark"] = pa.array(table.small_marks(pa.record_batch([found[c] for c in names], names), names))
    return pa.record_batch([found[c] for c in schema.names], schema=schema)


def written(): return next(int(line.split()[1]) for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("wchar"))


def peak(): return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))/1024


def clock(f):
    start = time.perf_counter()
    return f(), time.perf_counter() - start


def busy():
    "Seconds of processor time of this process, all threads: what a machine that does other work, too, cannot inflate."
    return time.process_time()


def child(part, *args, path=None):
    "One part in a process of its own; what it says."
    env = os.environ | (dict(PYTHONPATH=str(path)) if path else {})
    done = subprocess.run([sys.executable, __file__, "--child", part, *map(str, args)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


# ---- parts, each a process

def part_bytes(folder):
    from valor_lab.harvest import FeatureStore, add_rows, begin_store, tidy
    from valor_lab.vocab import LLP
    made, before, folder = settings(512, 768), written(), Path(folder)
    class Words:
        def __init__(self, m): self.modality, self.name, self.fingerprint, self.scale, self.width = m, m, "made up", 100., made[m]["width"]
        def embed_text(self, captions): return np.ones((len(captions), self.width), np.float32)
    def session(which):
        begin_store(folder, made)
        for k in range(which.start, which.stop, 64): add_rows(folder, rows(range(k, min(k + 64, which.stop)), made), made)
        if len(which): tidy(folder)
        FeatureStore.open(folder).remember(LLP, Words("visual"), Words("audio"))
    ends = np.linspace(0, 1600, 12).astype(int)
    for a, b in zip(ends, ends[1:]): session(range(a, b))
    state = lambda: {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}
    all_of_it, there = written() - before, state()
    session(range(1600, 1600))
    return dict(data=1600*10*1280*2, written=all_of_it, changed=len(set(state().items()) ^ set(there.items())), on_disk=sum(size for size, _ in there.values()))


def part_fill(folder, n):
    from valor_lab.harvest import add_rows, begin_store, rows as table
    made, n, size = settings(8, 104), int(n), 8192
    begin_store(Path(folder), made)
    start = time.perf_counter()
    for k in range(0, n, size): table.merge_rows(Path(folder)/table.TABLE, block(range(k, min(n, k + size)), made))
    table.tidy(Path(folder))
    filled = time.perf_counter() - start
    some = [clock(lambda: add_rows(Path(folder), rows(range(n + 64*k, n + 64*k + 64), made), made))[1] for k in range(5)]
    return dict(seconds=filled, commit_64=float(np.median(some)), peak=peak(), gigabytes=sum(p.stat().st_size for p in Path(folder).rglob("*.lance") if p.is_file())/1e9)


def part_rows(folder, n):
    from valor_lab.harvest import FeatureStore
    rng, start = np.random.default_rng(1), peak()
    s, opened = clock(lambda: FeatureStore.open(folder))
    def some():
        part = FeatureStore.open(folder).select([f"{i:011d}_0_10" for i in rng.integers(0, int(n), 100)])
        return part.audio, part.visual
    before = busy()
    times = [clock(some)[1] for _ in range(9)]
    work = (busy() - before)/9
    ids, listed = clock(lambda: len(s.ids))
    return dict(open_ms=1e3*opened, by_id_ms=1e3*float(np.median(times)), by_id_first_ms=1e3*times[0], by_id_least_ms=1e3*min(times), by_id_busy_ms=1e3*work, ids=ids, listed=listed, imports=start, peak=peak())


def part_scores(folder):
    from valor_lab.harvest import FeatureStore
    from valor_lab.vocab import LLP
    s, start = FeatureStore.open(folder), peak()
    s._captions = {m: {c: np.ones(s.settings[m]["width"], np.float32) for c in getattr(LLP, f"{w}_captions")} for m, w in (("audio", "clap"), ("visual", "clip"))}
    def run():
        n = 0
        for r, found in s.score_batches(LLP): n += len(found["visual"])
        return n
    n, seconds = clock(run)
    return dict(clips=n, seconds=seconds, imports=start, peak=peak())


def part_load(folder, n):
    from valor_lab.harvest import FeatureStore
    from valor_lab.vocab import LLP                                                   # noqa: as a training has it
    start = peak()
    s, opened = clock(lambda: FeatureStore.open(folder))
    order = [s.ids[i] for i in np.random.default_rng(0).permutation(len(s.ids))[:int(n)]]
    def load():
        part = s.select(order)
        out = [part.array(m, keep=False) if hasattr(part, "array") else getattr(part, m) for m in ("audio", "visual")]
        return sum(float(x[i:i + 64].sum(dtype=np.float32)) for x in out for i in range(0, len(x), 64)), sum(x.nbytes for x in out)
    before = busy()
    (total, size), seconds = clock(load)
    return dict(open_ms=1e3*opened, seconds=seconds, busy=busy() - before, imports=start, peak=peak(), megabytes=size/2**20, total=total)


def part_search(folder):
    from valor_lab.harvest import FeatureStore, add_rows, begin_store, Row
    rng, n, D = np.random.default_rng(0), 50_000, 128
    unit = lambda x: x/np.linalg.norm(x, axis=-1, keepdims=True)
    made, centres = settings(8, D) | dict(audio=None), unit(rng.standard_normal((2000, D), np.float32))
    begin_store(Path(folder), made)
    for k in range(0, n, 5000):
        x = unit(centres[rng.integers(2000, size=(5000, 1))] + .08*rng.standard_normal((5000, 10, D), np.float32)).astype(np.float16)
        add_rows(Path(folder), [Row(f"{k + i:06d}", "", 10., {}, dict(visual=v)) for i, v in enumerate(x)], made)
    s = FeatureStore.open(folder)
    queries = unit(centres[:50] + .06*rng.standard_normal((50, D), np.float32))
    s._captions = dict(audio={}, visual={f"q{i}": q for i, q in enumerate(queries)})
    _, built = clock(lambda: s.index("visual"))
    ask = lambda exact: [clock(lambda: s.search(f"q{i}", "visual", 10, exact=exact)) for i in range(50)]
    true, fast = ask(True), ask(False)
    same = [len({*zip(a["clip"], a.segment)} & {*zip(b["clip"], b.segment)}) for (a, _), (b, _) in zip(true, fast)]
    return dict(seconds=n*10, built=built, exact_ms=1e3*float(np.median([t for _, t in true])), index_ms=1e3*float(np.median([t for _, t in fast])), recall=sum(same)/500, peak=peak())


def old_store(folder, n=12_000):
    "A finished store of version 0.1."
    import pyarrow as pa
    def tensor(x):
        flat = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x[0].size)
        return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.from_numpy_dtype(x.dtype), x.shape[1:]), flat)
    folder.mkdir(parents=True)
    made = settings(512, 768) | dict(format=1)
    (folder/"manifest.json").write_text(json.dumps(made))
    found = rows(range(n), made)
    columns = dict(id=[r.id for r in found], path=[r.path for r in found], duration=[10.]*n, has_audio=[True]*n, has_visual=[True]*n)
    columns |= {m: np.stack([r.arrays[m] for r in found]) for m in ("audio", "visual")}
    batch = pa.record_batch({k: tensor(x) if isinstance(x, np.ndarray) else pa.array(x) for k, x in columns.items()})
    batch = batch.replace_schema_metadata({"notes": "[]"})
    with pa.OSFile(str(folder/f"00000-{(n - 1)//64:05d}.arrow"), "wb") as f, pa.ipc.new_file(f, batch.schema) as out: out.write_batch(batch)


# ---- what is printed

def show_bytes(work, a):
    x = child("bytes", work/"bytes")
    print(f"1,600 clips, 512 + 768 wide, eleven sessions: {x['written']/1e6:.1f} MB written for {x['data']/1e6:.1f} MB of numbers, {x['written']/x['data']:.3f} x; "
          f"{x['on_disk']/1e6:.1f} MB on the disk; a twelfth with nothing to do changed {x['changed']} files")


def show_rows(work, a):
    f = child("fill", work/"rows", a.n)
    print(f"{a.n:,} clips, 10 x 8 + 10 x 104 wide ({a.n*1040/2**31:.2f} x 2^31 numbers in a column): appended in {f['seconds']:.0f} s, {f['gigabytes']:.1f} GB, peak "
          f"{f['peak']:.0f} MB; a commit of 64 clips at the end {1e3*f['commit_64']:.0f} ms")
    r, s = child("rows", work/"rows", a.n), child("scores", work/"rows")
    print(f"open {r['open_ms']:.1f} ms; 100 clips by id, opening included, {r['by_id_ms']:.0f} ms (the first time {r['by_id_first_ms']:.0f}); all {r['ids']:,} ids "
          f"{r['listed']:.1f} s, peak {r['peak']:.0f} MB\nscores of 25 events for {s['clips']:,} clips in batches: {s['seconds']:.0f} s, peak {s['peak']:.0f} MB "
          f"({s['imports']:.0f} before)\nat full width: 2.1 M x 25.6 kB = {2.1e6*25_600/1e9:.0f} GB, scores of 527 events 2.1 M x 42 kB = {2.1e6*527*80/1e9:.0f} GB")


def show_load(work, a):
    old_store(work/"old")
    if a.old:
        for _ in range(2): x = child("load", work/"old", 10_000, path=a.old)
        print(f"before: open {x['open_ms']:.1f} ms, 10,000 of 12,000 clips ({x['megabytes']:.0f} MB) {x['seconds']:.2f} s, peak {x['peak']:.0f} MB ({x['imports']:.0f} before)")
    _, seconds = clock(lambda: child("load", work/"old", 100))
    print(f"converting 12,000 clips of version 0.1, and opening: {seconds:.1f} s")
    for _ in range(2): y = child("load", work/"old", 10_000)
    print(f"now:    open {y['open_ms']:.1f} ms, 10,000 of 12,000 clips ({y['megabytes']:.0f} MB) {y['seconds']:.2f} s, peak {y['peak']:.0f} MB ({y['imports']:.0f} before), "
          "every clip held against its mark")
    if a.old: print(f"the same numbers: {x['total'] == y['total']}")


def show_search(work, a):
    x = child("search", work/"search")
    print(f"{x['seconds']:,} seconds, 128 wide: exact {x['exact_ms']:.0f} ms; index built in {x['built']:.0f} s, asked in {x['index_ms']:.0f} ms, {x['recall']:.1%} of the true ten; peak {x['peak']:.0f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["bytes", "rows", "load", "search"])
    parser.add_argument("--n", type=int, default=2_100_000)
    parser.add_argument("--old", type=Path)
    parser.add_argument("--work", type=Path)
    a = parser.parse_args()
    for p in a.parts:
        with tempfile.TemporaryDirectory(dir=a.work) as tmp: globals()[f"show_{p}"](Path(tmp), a)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]: print(json.dumps(globals()[f"part_{sys.argv[2]}"](*sys.argv[3:])))
    else: main()
