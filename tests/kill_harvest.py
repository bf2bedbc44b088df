"""Kill a harvest at random moments and before every single commit, resume it, and compare with one that was left alone.

Run by test_harvest.py as a process of its own: `python kill_harvest.py VIDEOS WORK SEED [TRIALS]`. Each harvest that dies runs in a process
that is started fresh (the table's library cannot be forked), says `ready` when everything is imported, and waits for a word. Prints a JSON line."""
import json, os, random, signal, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def harvest_as_told():
    "One process: import, wait for the folders and the moment of death, harvest."
    import lance, tqdm.auto                                             # noqa: before the clock runs
    from toy_teachers import TOY, Ear, Eye
    from valor_lab.harvest import harvest, pipeline, rows
    print("ready", flush=True)
    videos, out, k = json.loads(sys.stdin.readline())
    if k:                                                               # die before the k-th commit
        count, real = [0], pipeline.add_rows
        def add(*a):
            count[0] += 1
            if count[0] == k: os._exit(9)
            return real(*a)
        pipeline.add_rows = add
    try: harvest(videos, Eye(), Ear(), out, vocab=TOY, batch=2, shard=3, workers=2, progress=False)
    except KeyboardInterrupt: os._exit(1)


class Processes:
    "Processes that have imported everything; one is always in waiting."
    def __init__(self): self.next = self.start()
    def start(self):
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return subprocess.Popen([sys.executable, __file__, "harvest"], text=True, **pipes)
    def run(self, videos, out, k=0):
        p, self.next = self.next, self.start()
        assert p.stdout.readline() == "ready\n", "the process could not start"
        p.stdin.write(json.dumps([str(videos), str(out), k]) + "\n"), p.stdin.flush()
        return p


def main(videos, work, seed, trials=20):
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
    print(json.dumps(dict(wrong=wrong, seconds=length, rows=len(reference), stored_when_killed=part, stored_before_commits=n)))


if __name__ == "__main__":
    if sys.argv[1] == "harvest": harvest_as_told()
    else: main(*sys.argv[1:3], *map(int, sys.argv[3:]))
