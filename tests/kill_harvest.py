"""Kill a harvest at random moments and at every single write, resume it, and compare with one that was left alone.

Run by test_harvest.py as a process of its own: `python kill_harvest.py VIDEOS WORK SEED`. Each harvest runs in a forked child, so that imports are paid once; this process
itself starts no thread. Prints one JSON line."""
import json, os, random, signal, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import numpy, pandas, pyarrow, tqdm.auto                 # noqa: before the forks
from toy_teachers import TOY, Ear, Eye, same_store
from valor_lab.media import decode as media                              # noqa
from valor_lab.harvest import FeatureStore, harvest
from valor_lab.harvest.store import data_files, _read

def run(videos, out): harvest(videos, Eye(), Ear(), out, vocab=TOY, batch=2, shard=3, workers=2, progress=False)

def fork(work):
    "Run `work` in a child and return its id."
    if pid := os.fork(): return pid
    try: work()
    except KeyboardInterrupt: os._exit(1)
    os._exit(0)

def whole(videos, out):
    assert os.waitstatus_to_exitcode(os.waitpid(fork(lambda: run(videos, out)), 0)[1]) == 0, f"the harvest into {out} failed"

def stored(out): return sum(len(_read(p)[0]["id"]) for p in data_files(out))

def die_at(k):
    "Let this process end just before its k-th rename or deletion: between two of these nothing of the store changes."
    count, real = [0], dict(replace=os.replace, unlink=os.unlink)
    def wrap(name):
        def call(*a, **kw):
            count[0] += 1
            if count[0] == k: os._exit(9)
            real[name](*a, **kw)
        return call
    os.replace, os.unlink = wrap("replace"), wrap("unlink")

def main(videos, work, seed):
    rng, videos, work = random.Random(seed), Path(videos), Path(work)
    start = time.monotonic()
    whole(videos, work/"alone")
    length, wrong, part, n = time.monotonic() - start, [], [], 0
    reference = FeatureStore.open(work/"alone")
    for trial in range(20):
        out, how = work/f"random{trial}", signal.SIGINT if trial % 5 == 4 else signal.SIGKILL
        for _ in range(1 + (trial % 4 == 0)):                # some are resumed and killed again
            child = fork(lambda: run(videos, out))
            time.sleep(rng.uniform(0, length))
            os.kill(child, how)
            os.waitpid(child, 0)
            part.append(stored(out))
        whole(videos, out)
        if not same_store(FeatureStore.open(out), reference): wrong.append(out.name)
    for k in range(1, 1000):
        out = work/f"write{k}"
        _, status = os.waitpid(fork(lambda: (die_at(k), run(videos, out))), 0)
        if os.waitstatus_to_exitcode(status) == 0: break
        n += 1
        whole(videos, out)
        if not same_store(FeatureStore.open(out), reference) or len(list(out.glob("*.arrow"))) != 3: wrong.append(out.name)
    print(json.dumps(dict(wrong=wrong, seconds=length, rows=len(reference), stored_when_killed=part, writes=n)))

if __name__ == "__main__": main(*sys.argv[1:3], int(sys.argv[3]))
