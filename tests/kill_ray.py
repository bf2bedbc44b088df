"""Harvest one store by several at once, on Ray too, kill some of them, and compare with one process that was left alone.

    python tests/kill_ray.py VIDEOS WORK [--clips 48] [--parts pair ray worker drivers refusals]

`pair`: two processes at one store. `ray`: four nodes on loopback, of which one is killed with -9 in the middle. `worker`: so are the process that
holds the teachers and one that decodes. `drivers`: a driver is killed with -9 in the middle, then two drivers at once finish. `refusals`: a node
without the package, and a token that is not the cluster's. The demo set's teachers; prints a line for each, and exits 1 if a bit differs or a
refusal is no sentence."""
import argparse, contextlib, os, signal, subprocess, sys, tempfile, threading, time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))


def harvest_here(videos, out, engine="local", clips=48):
    from valor_lab.demo import demo_teachers
    from valor_lab.harvest import harvest
    found = sorted(Path(videos).glob("*.mp4"))[:clips]
    return harvest(found, *demo_teachers(device="cpu"), out, vocab=None, batch=4, shard=8, workers=1, progress=False, engine=engine)


def compare(name, store, alone, seconds, same_order=True):
    from toy_teachers import same_store
    other = store if same_order else store.select(alone.ids)
    same = len(store.ids) == len(set(store.ids)) == len(alone.ids) and same_store(other, alone)
    print(f"{name}: {len(store.ids)} rows, {len(set(store.ids))} clips, the same bits: {same}, {seconds:.0f} s", flush=True)
    return same


def process(*args): return subprocess.Popen([sys.executable, __file__, *map(str, args), "--child"], env=dict(os.environ, OMP_NUM_THREADS="1"))


class Nodes:
    "A Ray of several nodes on the loopback address."
    def __init__(self, n):
        from valor_lab.nodes import loopback, ray_node
        self.env, self.stack, self.processes, self.heads = loopback(), contextlib.ExitStack(), [], []
        os.environ.update(self.env)                        # before Ray is imported
        self.address, head = self.stack.enter_context(ray_node(env=self.env, num_cpus=1, object_store_memory=200 << 20))
        self.heads.append(head)
        for _ in range(n - 1):
            _, p = self.stack.enter_context(ray_node(self.address, self.env, num_cpus=1, object_store_memory=200 << 20))
            self.processes.append(p)

    def kill(self, k):
        "A node and everything that it runs, at once."
        node = psutil.Process(self.processes[k].pid)
        for p in [*node.children(recursive=True), node]:
            with contextlib.suppress(psutil.NoSuchProcess): p.kill()


    def kill_workers(self):
        "One process that holds the teachers, and one that decodes; what they were."
        found, killed = {}, []
        for p in (c for top in [*self.heads, *self.processes] for c in psutil.Process(top.pid).children(recursive=True)):
            with contextlib.suppress(psutil.Error, IndexError): found.setdefault(p.cmdline()[0].split(".")[0], p)
        for name in ("ray::_Second", "ray::_first", "ray::IDLE"):
            if name in found and len(killed) < 2: found[name].kill(), killed.append(name)
        return killed

    @contextlib.contextmanager
    def bare(self):
        "One more node, whose Python has no such package."
        from valor_lab.nodes import ray_node
        with tempfile.TemporaryDirectory() as d:
            (Path(d)/"valor_lab.py").write_text("raise ImportError(\"No module named 'valor_lab'\")\n")
            env = dict(self.env, PYTHONPATH=os.pathsep.join([d, *filter(None, sys.path)]))       # found first
            with ray_node(self.address, env, num_cpus=1, object_store_memory=200 << 20): yield


def refusal(name, address, clip, work, said, **env):
    "Whether the command ends at once with the sentence; prints both."
    command = [sys.executable, "-c", "import sys; from valor_lab.cli import main; sys.exit(main(sys.argv[1:]))", "harvest", str(clip), "--demo",
               "--out", str(work/"refused"), "--engine", f"ray:{address}"]
    start, before = time.monotonic(), os.times()
    r = subprocess.run(command, capture_output=True, text=True, env=os.environ | env, timeout=300, cwd=work)    # Ray takes the folder along
    lines = [line for line in r.stderr.splitlines() if "engine 'ray'" in line]
    good = r.returncode == 2 and len(lines) == 1 and said in lines[0] and not (work/"refused").exists()
    now = os.times()
    used = now.children_user + now.children_system - before.children_user - before.children_system
    print(f"{name}: {time.monotonic() - start:.1f} s on the clock, {used:.1f} s of a processor, {'one sentence' if good else r.stderr[-2000:]}: {' '.join(lines)}", flush=True)
    return good


def stored(out):
    from valor_lab.harvest import FeatureStore, has_store
    try: return len(FeatureStore.open(out).ids) if has_store(out) else 0
    except Exception: return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("videos"), parser.add_argument("work", type=Path)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--parts", nargs="+", default=["pair", "ray", "worker", "drivers", "refusals"])
    parser.add_argument("--engine", default="local"), parser.add_argument("--child", action="store_true")
    a = parser.parse_args()
    if a.child: harvest_here(a.videos, a.work, a.engine, a.clips); return
    a.videos, a.work = Path(a.videos).resolve(), a.work.resolve()
    start, good = time.monotonic(), []
    clock = lambda: time.monotonic() - start
    alone = harvest_here(a.videos, a.work/"alone", clips=a.clips)
    print(f"one process: {len(alone.ids)} rows, {clock():.0f} s", flush=True)
    if "pair" in a.parts:
        start = time.monotonic()
        both = [process(a.videos, a.work/"pair", "--clips", a.clips) for _ in range(2)]
        ended = [p.wait() for p in both]
        from valor_lab.harvest import FeatureStore
        good.append(ended == [0, 0] and compare("two processes at one store", FeatureStore.open(a.work/"pair"), alone, clock(), False))
    if on_ray := {"ray", "worker", "drivers", "refusals"} & set(a.parts):
        nodes = Nodes(4)
        print(f"four nodes on loopback after {clock():.0f} s", flush=True)
    if "ray" in a.parts:
        start, killed = time.monotonic(), []
        def kill():
            while stored(a.work/"ray") < a.clips//4: time.sleep(.05)
            killed.append(stored(a.work/"ray"))
            nodes.kill(1)
        threading.Thread(target=kill, daemon=True).start()
        store = harvest_here(a.videos, a.work/"ray", f"ray:{nodes.address}", a.clips)
        good.append(bool(killed) and compare(f"Ray, one node of four killed at {killed} rows", store, alone, clock()))
    if "worker" in a.parts:
        start, killed = time.monotonic(), []
        def kill_two():
            while stored(a.work/"worker") < a.clips//4: time.sleep(.05)
            killed.extend([stored(a.work/"worker"), *nodes.kill_workers()])
        threading.Thread(target=kill_two, daemon=True).start()
        store = harvest_here(a.videos, a.work/"worker", f"ray:{nodes.address}", a.clips)
        good.append(len(killed) > 1 and compare(f"Ray, killed at {killed[:1]} rows: {', '.join(killed[1:])}", store, alone, clock()))
    if "drivers" in a.parts:
        start, out = time.monotonic(), a.work/"drivers"
        one = process(a.videos, out, "--engine", f"ray:{nodes.address}", "--clips", a.clips)
        while stored(out) < a.clips//4 and one.poll() is None: time.sleep(.05)
        one.send_signal(signal.SIGKILL), one.wait()
        had = stored(out)
        both = [process(a.videos, out, "--engine", f"ray:{nodes.address}", "--clips", a.clips) for _ in range(2)]
        ended = [p.wait() for p in both]
        from valor_lab.harvest import FeatureStore
        good.append(ended == [0, 0] and compare(f"driver killed at {had} rows, two at once finish", FeatureStore.open(out), alone, clock(), False))
    if "refusals" in a.parts:
        clip = sorted(Path(a.videos).glob("*.mp4"))[0]
        good.append(refusal("another token", nodes.address, clip, a.work, "does not let us in", RAY_AUTH_TOKEN="0"*64))
        with nodes.bare(): good.append(refusal("a node without the package", nodes.address, clip, a.work, "cannot import valor_lab"))
    if on_ray: nodes.stack.close()
    sys.exit(not all(good))


if __name__ == "__main__": main()
