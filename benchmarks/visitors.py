"""What many visitors of the pages, and a long queue of jobs, cost.

    python benchmarks/visitors.py [queue] [pages] [--workspace FOLDER] [--visitors 20]

`queue`: 200 jobs (ended, lost, waiting, one damaged) as the launcher opens and lists them. `pages`: the served pages of the demo set in FOLDER (a folder with `data/`
and `runs/`, as `$VALOR_ROOT`; it is copied), browse, tune, compare and train in turns, asked for by visitors who come one after the other and leave at once: the largest
memory of the server and all its kernels together (proportional share of what they have in common), and how many kernels are left.
"""
import argparse, http.client, json, os, shutil, socket, subprocess, sys, tempfile, threading, time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]


def jobs_of(folder, n=200):
    about = dict(notebook="train.ipynb", parameters=dict(preset="han"), started="2026-01-01T00:00:00+00:00", path="train.ipynb", root=str(folder))
    for k in range(n):
        (job := folder/"runs/jobs"/f"j{k}").mkdir(parents=True)
        more = [dict(pid=1, machine="x", began="1"), dict(end="finished", ended="2026-01-01T00:00:09+00:00"), {}][k % 3]
        (job/"job.json").write_text("{" if k == 7 else json.dumps(about | more | dict(number=k, token=f"{k:032x}", key=str(k))))
        (job/"log.txt").write_text("epoch 1\n"*2000)


def show_queue(folder, a):
    os.environ["VALOR_JOBS"] = "1"
    from valor_lab.workbench import Launcher, jobs
    jobs.capacity = lambda: 0                                            # nobody's turn comes while we look
    jobs_of(folder)
    def timed(f):
        wall, cpu = time.perf_counter(), time.process_time()
        f()
        return 1e3*(time.perf_counter() - wall), 1e3*(time.process_time() - cpu)
    made = lambda: Launcher("demo", "tiny", folder/"data", folder/"runs", notebook=str(ROOT/"nbs/train.ipynb"))
    rows = {"list of 200 jobs": [timed(lambda: jobs.list_jobs(folder/"runs/jobs")) for _ in range(5)], "launcher, opened": [timed(made) for _ in range(5)]}
    launcher = made()
    rows["launcher, looked at again"] = [timed(launcher.now) for _ in range(5)]
    assert len(launcher.jobs) == 200
    for name, found in rows.items():
        wall, cpu = zip(*found)
        print(f"{name:28s} first {wall[0]:6.0f} ms, median {sorted(wall)[2]:6.0f} ms, processor {sorted(cpu)[2]:6.0f} ms")


def memory(p):
    "Megabytes of a process and all below it."
    total = 0
    for q in [p, *p.children(recursive=True)]:
        try: total += q.memory_full_info().pss
        except psutil.Error: pass
    return total/2**20


def kernels(p): return [q for q in p.children(recursive=True) if "ipykernel_launcher" in " ".join(q.cmdline())]


def show_pages(folder, a):
    for d in ("data", "runs"): shutil.copytree(a.workspace/d, folder/d, symlinks=True) if (a.workspace/d).exists() else None
    shutil.copytree(ROOT/"nbs", folder/"nbs", ignore=shutil.ignore_patterns("api"))
    with socket.socket() as s: s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]
    env = os.environ | dict(VALOR_ROOT=str(folder), PYTHONPATH=str(ROOT))
    code = f"import sys; from valor_lab.workbench import serve; sys.exit(serve('demo', {a.size!r}, {port}, browser=False, token='x'*40))"
    with open(folder/"log", "w") as log: served = subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=env, stdout=log, stderr=log)
    try:
        while True:
            try: socket.create_connection(("127.0.0.1", port), 1).close(); break
            except OSError:
                if served.poll() is not None: sys.exit((folder/"log").read_text()[-3000:])
                time.sleep(.2)
        p, most, done = psutil.Process(served.pid), [0., 0], threading.Event()
        def watch():
            while not done.wait(.2):
                try: most[:] = max(most[0], memory(p)), max(most[1], len(kernels(p)))
                except psutil.Error: pass
        watcher = threading.Thread(target=watch)
        watcher.start()
        times, good = [], 0
        for k in range(a.visitors):
            page, start = ("browse", "tune", "compare", "train")[k % 4], time.monotonic()
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
            c.request("GET", f"/voila/render/{page}.ipynb", headers=dict(Authorization="token " + "x"*40))
            r = c.getresponse()
            text = r.read().decode(errors="replace")
            good += r.status == 200 and "Traceback" not in text and "anywidget" in text
            times.append(time.monotonic() - start)
            c.close()
        time.sleep(10)
        done.set(), watcher.join()
        print(f"{good} of {a.visitors} pages whole, {min(times):.1f} to {max(times):.1f} s each; at most {most[1]} kernels and {most[0]:.0f} MB together, "
              f"{len(kernels(p))} kernels and {memory(p):.0f} MB at the end")
        if good < a.visitors: print((folder/"log").read_text()[-3000:])
    finally:
        family = psutil.Process(served.pid).children(recursive=True)
        served.terminate()
        for q in psutil.wait_procs(family, 20)[1]: q.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["queue", "pages"])
    parser.add_argument("--workspace", type=Path, default=ROOT)
    parser.add_argument("--size", default="small")
    parser.add_argument("--visitors", type=int, default=20)
    a = parser.parse_args()
    for part in a.parts:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as tmp: globals()[f"show_{part}"](Path(tmp), a)


if __name__ == "__main__": main()
