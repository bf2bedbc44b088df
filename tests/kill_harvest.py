"""Kill a harvest at random moments and before every single commit, resume it, and compare with one that was left alone.

`python tests/kill_harvest.py` kills 20 harvests at random moments and one before each commit, lets 50 pairs of harvests over overlapping clips race for one
store, and fills the disk under one. test_harvest.py runs a share: `python kill_harvest.py VIDEOS WORK SEED TRIALS`. Each harvest runs in a process that was
started fresh (the table's library cannot be forked), says `ready` when everything is imported, and waits for words. Prints a JSON line."""
import json, os, random, signal, subprocess, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def harvest_as_told():
    "One process: import, wait for the folders and the moment of death, harvest, say what came of it, wait again."
    import lance, tqdm.auto                                             # noqa: before the clock runs
    from toy_teachers import TOY, Ear, Eye
    from valor_lab.harvest import harvest, pipeline, rows
    from valor_lab.core import ParameterError
    count, real = [0, 0], pipeline.add_rows
    def add(*a):                                                        # die before the k-th commit
        count[0] += 1
        if count[0] == count[1]: os._exit(9)
        return real(*a)
    pipeline.add_rows = add
    print("ready", flush=True)
    for line in sys.stdin:
        videos, out, k = json.loads(line)
        count[:] = 0, k
        try: harvest(videos, Eye(), Ear(), out, vocab=TOY, batch=2, shard=3, workers=2, progress=False); said = "done"
        except ParameterError as e: said = f"told: {e}"
        except KeyboardInterrupt: os._exit(1)
        print(json.dumps(said), flush=True)


class Processes:
    "Processes that have imported everything; one is always in waiting."
    def __init__(self): self.next = self.start()
    def start(self):
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return subprocess.Popen([sys.executable, __file__, "harvest"], text=True, **pipes)
    def run(self, videos, out, k=0):
        p, self.next = self.next, self.start()
        assert p.stdout.readline() == "ready\n", "the process could not start"
        ask(p, videos, out, k)
        p.stdin.close()
        return p


def ask(p, videos, out, k=0): p.stdin.write(json.dumps([videos if isinstance(videos, list) else str(videos), str(out), k]) + "\n"), p.stdin.flush()


def wrong_in(out, reference, clips):
    "What is wrong with a store that shall hold these clips of the reference."
    import numpy as np
    from valor_lab.harvest import FeatureStore
    try: s = FeatureStore.open(out)
    except Exception as e: return [f"unreadable: {type(e).__name__} {e}"]
    wrong = [f"twice {i}" for i in set(s.ids) if s.ids.count(i) > 1] + [f"lost {i}" for i in clips if i in reference.ids and i not in s.ids]
    both = [i for i in s.ids if i in reference.ids]
    a, b = s.select(both), reference.select(both)
    return wrong + [f"other numbers: {m}" for m in ("audio", "visual") if not np.array_equal(getattr(a, m), getattr(b, m), equal_nan=True)]


def races(videos, work, reference, n):
    "Two harvests at one moment over clips that overlap, n times: each clip that one of them reported is there once."
    clips = sorted(str(p) for p in videos.iterdir())
    some, ps = (clips[:8], clips[3:][::-1]), [Processes().next for _ in range(2)]
    for p in ps: assert p.stdout.readline() == "ready\n"
    wrong, told = [], 0
    for k in range(n):
        for p, mine in zip(ps, some): ask(p, mine, work/f"race{k}")
        said = [json.loads(p.stdout.readline()) for p in ps]
        told += sum(x != "done" for x in said)
        done = {Path(c).stem for x, mine in zip(said, some) if x == "done" for c in mine}
        wrong += wrong_in(work/f"race{k}", reference, done)
    for p in ps: p.kill()
    return dict(races=n, told=told, wrong_after_races=wrong[:5])


def full_disk(videos, work, reference, whole):
    "A harvest into a disk that fills up: it says so, what it had reported is there, and with room again it ends well."
    from valor_lab.core import CannotWrite
    disk = work/"disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)], capture_output=True).returncode:
        return dict(full="not tried: a file system cannot be mounted here")
    try:
        (disk/"ballast").write_bytes(bytes(420_000))
        try: whole(disk/"store"); said = "it did not fill up"
        except CannotWrite as e: said = str(e).replace(str(work), "")
        wrong = wrong_in(disk/"store", reference, ()) if (disk/"store").exists() else []
        (disk/"ballast").unlink()
        whole(disk/"store")
        return dict(full=said, wrong_after_full=wrong + wrong_in(disk/"store", reference, reference.ids))
    finally: subprocess.run(["umount", str(disk)], capture_output=True)


def main(videos, work, seed, trials=20, pairs=0):
    from toy_teachers import TOY, Ear, Eye, same_store
    from valor_lab.harvest import FeatureStore, harvest, has_store
    whole = lambda out: harvest(videos, Eye(), Ear(), out, vocab=TOY, batch=2, shard=3, workers=2, progress=False)
    stored = lambda out: len(FeatureStore.open(out)) if has_store(out) else 0
    rng, videos, work, processes = random.Random(seed), Path(videos), Path(work), Processes()
    start = time.monotonic()
    whole(work/"alone")
    length, wrong, part, n = time.monotonic() - start, [], [], []
    reference = FeatureStore.open(work/"alone")
    for trial in range(trials):
        out, how = work/f"random{trial}", signal.SIGINT if trial % 5 == 4 else signal.SIGKILL
        for _ in range(1 + (trial % 4 == 0)):                # some are resumed and killed again
            child = processes.run(videos, out)
            time.sleep(rng.uniform(0, length))
            child.send_signal(how)
            child.wait()
            part.append(stored(out))
        whole(out)
        if not same_store(FeatureStore.open(out), reference): wrong.append(out.name)
    for k in range(1, 1000):
        out = work/f"write{k}"
        if processes.run(videos, out, k).wait() == 0: break
        n.append(stored(out))
        whole(out)
        if not same_store(FeatureStore.open(out), reference): wrong.append(out.name)
    processes.next.kill()
    more = races(videos, work, reference, pairs) | full_disk(videos, work, reference, whole) if pairs else {}
    print(json.dumps(dict(wrong=wrong, seconds=length, rows=len(reference), stored_when_killed=part, stored_before_commits=n) | more))
    return bool(wrong or more.get("wrong_after_races") or more.get("wrong_after_full"))


def all_of_it():
    "Twenty kills, fifty races, a full disk, over clips of two seconds."
    from toy_teachers import toy_clip, toy_set
    with tempfile.TemporaryDirectory() as tmp:
        toy_set(Path(tmp)/"v", 11, seconds=2)
        (Path(tmp)/"v/clip04.mp4").write_bytes(b"")
        toy_clip(Path(tmp)/"v/clip06.mp4", [0, 1], [])
        return main(Path(tmp)/"v", tmp, 0, 20, 50)


if __name__ == "__main__":
    if sys.argv[1:] == ["harvest"]: harvest_as_told()
    elif len(sys.argv) < 2: sys.exit(all_of_it())
    else: main(*sys.argv[1:3], *map(int, sys.argv[3:]))
