"""All tests of the project, in one go, with one closing line that counts them.

    python tests/run.py            # everything
    python tests/run.py core       # checks, and what needs no browser, no training, no server and no package: a few minutes

Checks that the export and the notebooks are clean work on a copy, so the tree is left as it was."""
import filecmp, os, re, shutil, subprocess, sys, tempfile, time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# not in the core: what opens a browser, trains for long, serves, decodes many films, or builds something
LONG = ("browser_desk browser_player browser_time browser_trust browser_widths browser_workbench annotators autosave words sixteen widgets pages server jobs "
        "papers maps networks makers together ave tal places own plugins version_0_1 cli notebooks demo demo_teachers engines engine_harvest "
        "wheel site docs types gpu_script time media writers").split()
BIN = Path(sys.executable).parent

def environment():
    "The environment of the notebooks and tests: real data where it stands beside the project, one thread each, the hub left alone."
    env = dict(os.environ, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", PYTHONPATH=str(ROOT))
    beside = ROOT.parent/"shared"/"data"
    if "VALOR_TEST_DATA" not in env and beside.is_dir(): env["VALOR_TEST_DATA"] = str(beside)
    return env

def command(*args, cwd=ROOT, env=None): return subprocess.run([str(BIN/args[0]), *args[1:]], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

def say(name, ok, detail=""):
    print(f"{'ok  ' if ok else 'FAIL'} {name}{': ' + detail if detail else ''}", flush=True)
    return (1, 0, 0) if ok else (0, 1, 0)

def differing(a, b, pattern):
    "Relative paths that are not the same in the two folders."
    names = {p.relative_to(d) for d in (a, b) for p in d.rglob(pattern) if ".ipynb_checkpoints" not in p.parts}
    return sorted(str(n) for n in names if not ((a/n).exists() and (b/n).exists() and filecmp.cmp(a/n, b/n, shallow=False)))

def check_clean():
    "The library is what the notebooks export, and the notebooks' metadata is clean."
    with tempfile.TemporaryDirectory() as d:
        copy = Path(d)/ROOT.name
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "data", "runs", "reports", "site", "__pycache__", "*.egg-info", "test-artifacts", ".ipynb_checkpoints"))
        out = command("nbdev_export", cwd=copy)
        drift = differing(ROOT/"valor_lab", copy/"valor_lab", "*.py")
        yield say("the library is what its notebooks export", out.returncode == 0 and not drift, f"run nbdev_export and commit {', '.join(drift)}" if drift else out.stdout[-500:] * bool(out.returncode))
        out = command("nbdev_clean", cwd=copy)
        dirty = differing(ROOT/"nbs", copy/"nbs", "*.ipynb")
        yield say("the notebooks' metadata is clean", out.returncode == 0 and not dirty, f"run nbdev_clean and commit {', '.join(dirty)}" if dirty else out.stdout[-500:] * bool(out.returncode))

def run_notebooks(env):
    "Every notebook runs from top to bottom. `nbdev_test` says Success even for none, so they are counted."
    wanted = sorted(p.relative_to(ROOT/"nbs") for p in (ROOT/"nbs").rglob("*.ipynb") if not any(q.startswith(("_", ".")) for q in p.relative_to(ROOT/"nbs").parts))
    start = time.time()
    out = command("nbdev_test", "--n_workers", "2", "--do_print", env=env)
    done, failed = notebook_counts(out.stdout, out.returncode, len(wanted))
    if failed: print(out.stdout[-12000:])
    say("notebooks", not failed, f"{done} of {len(wanted)} ran from top to bottom, {time.time() - start:.0f} s")
    return done, failed, 0

def notebook_counts(printed, status, wanted):
    "`(passed, failed)` from what nbdev_test printed. It says Completed of a notebook that raised, too, and names those at the end."
    completed, (_, _, named) = len(re.findall(r"- Completed ", printed)), printed.partition("Failed On The Following Notebooks:")
    bad = max(len(re.findall(r"\S+\.ipynb", named)), wanted - completed, int(status != 0 or wanted == 0))
    return wanted - min(bad, wanted), bad

def browser(which=shutil.which, root=lambda: hasattr(os, "geteuid") and os.geteuid() == 0, run=subprocess.run):
    "Why there is no Chromium for the browser tests, or an empty string: Debian's is installed where it is missing and can be."
    if os.environ.get("CHROMIUM") or which("chromium") or which("chromium-browser"): return ""
    if not which("apt-get"): return "no chromium here, and no apt-get to install it; put its path into CHROMIUM"
    if not root(): return "no chromium here, and only root may install it: apt-get install -y chromium"
    for args in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        try: out = run(["apt-get", *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))
        except subprocess.TimeoutExpired: return f"no chromium here, and apt-get {args[0]} did not end within 15 minutes"
        if out.returncode: return f"no chromium here, and apt-get {args[0]} failed: {(out.stdout.strip().splitlines() or ['it said nothing'])[-1]}"
    return "" if which("chromium") else "apt-get installed chromium, but there is none on the path"

def run_pytest(env, core=False):
    if why := browser(): env = dict(env, NO_CHROMIUM=why)
    with tempfile.TemporaryDirectory() as d:
        report = Path(d)/"report.xml"
        out = subprocess.run([sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-rs", f"--junitxml={report}", "--durations=8", *([f"--ignore=tests/test_{name}.py" for name in LONG] * core)], cwd=ROOT, env=env)
        if not report.exists(): return say("pytest", False, "it did not finish")
        suites = list(ET.parse(report).getroot().iter("testsuite"))
    n, skipped, bad = (sum(int(s.get(k)) for s in suites) for k in ("tests", "skipped", "errors"))
    bad += sum(int(s.get("failures")) for s in suites)
    return n - skipped - bad, bad or int(n == 0 or out.returncode != 0), skipped

def main():
    env, counts = environment(), []
    counts += check_clean()
    core = "core" in sys.argv[1:]
    if not core: counts.append(run_notebooks(env))
    counts.append(run_pytest(env, core))
    passed, failed, skipped = map(sum, zip(*counts))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0)

if __name__ == "__main__": main()
