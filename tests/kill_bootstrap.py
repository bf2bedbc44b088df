"""Kill the bootstrap (`make .venv/.ready`) at random moments, run it again, and see that what it says is ready works.

    python tests/kill_bootstrap.py [--kills 10] [--seed 0] [--demo 1] [--work FOLDER]

No part of `make test`: it clones this repository and installs all packages some twenty times (from pip's and uv's caches; with a network). Make and all that it
started are killed with -9, each time in an environment that was begun anew; half of the moments lie where the packages are linked, which is where a killed
bootstrap once left an environment that was called ready and was not. Then the bootstrap runs to its end and everything is imported, and every file that the
packages list must be there with its size; after the first `--demo` kills `make demo` runs, too. Prints a JSON line for each kill, and one for all."""
import argparse, json, os, random, signal, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOOK = """
import importlib.metadata as m, json
import torch, jupyterlab, valor_lab
gone = [str(f.locate()) for d in m.distributions() for f in d.files or () if not f.locate().exists() or f.size is not None and f.suffix != '.pyc' and f.locate().stat().st_size != f.size]
print(json.dumps([len(list(m.distributions())), gone[:5], len(gone)]))
"""


def start(folder, *what):
    "Make, as the leader of a group of its own."
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "VALOR_ROOT")} | dict(HF_HUB_OFFLINE="1")
    return subprocess.Popen(["make", *what], cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finished(folder, *what):
    "Run make to its end: its seconds."
    began, p = time.monotonic(), start(folder, *what)
    said = p.communicate()[1]
    assert p.returncode == 0, f"make {' '.join(what)} ended with {p.returncode}: {said[-2000:]}"
    return time.monotonic() - began


def linked(folder): return sum(1 for _ in (folder/".venv").glob("lib/*/site-packages/*.dist-info"))


def look(folder):
    "What is wrong with the environment: nothing if all that the packages list is there."
    done = subprocess.run([folder/".venv/bin/python", "-c", LOOK], cwd=folder, capture_output=True, text=True, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
    if done.returncode: return f"imports failed: {done.stderr[-500:]}"
    n, some, gone = json.loads(done.stdout.splitlines()[-1])
    return f"{gone} files of {n} packages are gone or cut: {some}" if gone else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("kills", 10), ("seed", 0), ("demo", 1)): parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--work", type=Path)
    a = parser.parse_args()
    rng, wrong = random.Random(a.seed), 0
    with tempfile.TemporaryDirectory(dir=a.work) as tmp:
        folder = Path(tmp)/"clone"
        subprocess.run(["git", "clone", "-q", ROOT, folder], check=True)
        length = finished(folder, ".venv/.ready")
        print(json.dumps(dict(whole=round(length, 1), packages=linked(folder), wrong=look(folder))), flush=True)
        packages = linked(folder)
        for k in range(a.kills):
            subprocess.run(["rm", "-rf", folder/".venv"], check=True)
            p, began = start(folder, ".venv/.ready"), time.monotonic()
            if k % 2:                                                           # while packages are linked: after so many of them
                after = rng.randrange(3, packages - 3)
                while linked(folder) < after and p.poll() is None: time.sleep(.002)
            else: time.sleep(rng.uniform(0, length))
            at = time.monotonic() - began
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()
            state = dict(kill=k, after=round(at, 1), linked=linked(folder), ready=(folder/".venv/.ready").exists())
            try: state["again"] = round(finished(folder, ".venv/.ready"), 1); state["wrong"] = look(folder)
            except AssertionError as e: state["wrong"] = str(e)
            if not state["wrong"] and k < a.demo:
                try: state["demo"] = round(finished(folder, "demo"), 1)
                except AssertionError as e: state["wrong"] = str(e)
            wrong += bool(state["wrong"])
            print(json.dumps(state), flush=True)
        print(json.dumps(dict(kills=a.kills, demos=min(a.demo, a.kills), wrong=wrong)))
    return bool(wrong)


if __name__ == "__main__": sys.exit(main())
