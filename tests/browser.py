"""What the tests of the workbench share: JupyterLab on loopback, Debian's Chromium, and how to wait for what a page shows."""
import json, os, secrets, shutil, socket, subprocess, sys, time, urllib.error, urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
SHOTS = REPO/"test-artifacts"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
try: from playwright.sync_api import sync_playwright
except ImportError: sync_playwright = None
WAIT = 1000 * int(os.environ.get("BROWSER_WAIT", 240))   # ms; machines that run tests are busy
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync", "--autoplay-policy=no-user-gesture-required"]
MISSING = os.environ.get("NO_CHROMIUM") or "no chromium here: apt-get install -y chromium"   # tests/run.py says there why it could not install one
BAD = "<img src=x onerror=window.hacked=1>"              # a name that somebody may give, and that must be shown as text
browser = pytest.mark.skipif(CHROMIUM is None or sync_playwright is None, reason=MISSING)


@pytest.fixture
def home(tmp_path, monkeypatch):
    "An empty workspace of the test's own."
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    (tmp_path/"data").mkdir()
    return tmp_path


def notebook(cells):
    cell = lambda i, source: dict(cell_type="code", id=f"c{i}", metadata={}, execution_count=None, outputs=[], source=source)
    return dict(nbformat=4, nbformat_minor=5, metadata=dict(kernelspec=dict(name="python3", display_name="Python 3", language="python")), cells=[cell(i, c) for i, c in enumerate(cells)])


def free_port():
    "A port that nobody has, and that the system gives to nobody who asks for any, until a server takes it some seconds later."
    for port in secrets.SystemRandom().sample(range(10_000, 32_000), 200):
        with socket.socket() as s, suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port")


def server_environment(project, **more):
    "The environment of a server whose settings all lie in the project's own folder."
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JPY_", "JUPYTER"))}
    return env | dict(VALOR_ROOT=str(project), OMP_NUM_THREADS="1", PYTHONPATH=str(REPO), IPYTHONDIR=str(project/".ipython"), JUPYTERLAB_SETTINGS_DIR=str(project/".jupyter-settings"),
                      **{f"JUPYTER_{k}_DIR": str(project/f".jupyter-{k.lower()}") for k in ("CONFIG", "DATA", "RUNTIME")}, **more)


@contextmanager
def serving(command, url, env, cwd, log):
    "A server, until it is no longer needed; what it says is in `log`."
    with open(log, "w") as out: p = subprocess.Popen(command, env=env, cwd=cwd, stdout=out, stderr=out)
    for _ in range(3000):
        try: urllib.request.urlopen(url, timeout=2); break
        except urllib.error.HTTPError: break                                    # it answers, and asks for a token
        except OSError: time.sleep(.2)
        if p.poll() is not None: raise RuntimeError(Path(log).read_text()[-2000:])
    else: raise RuntimeError(Path(log).read_text()[-2000:])
    try: yield p
    finally:
        p.terminate()
        try: p.wait(60)
        except subprocess.TimeoutExpired: p.kill(), p.wait()


@contextmanager
def running_lab(project):
    "JupyterLab on loopback; yields its URL."
    quiet = project/".jupyter-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True, exist_ok=True)
    quiet.write_text('{"fetchNews": "false"}')
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", "--ip", "127.0.0.1", "--port", str(port), "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={project}", "--LabApp.expose_app_in_browser=True"]
    with serving(command, f"http://127.0.0.1:{port}/api", server_environment(project), project, project/"lab.log"): yield f"http://127.0.0.1:{port}"


def idle(page):
    "Wait until every cell has run: the last code cell has a number and no cell waits for the kernel."
    page.wait_for_function("""() => { const w = window.jupyterapp.shell.currentWidget, cells = w.content.widgets.filter(c => c.model.type === 'code' && c.model.sharedModel.source.trim());
        return cells.every(c => c.model.executionCount !== null && c.model.executionState !== 'running') && w.sessionContext.session?.kernel?.status === 'idle' }""")


def settled(page):
    "Wait for two frames, in which the page draws what it knows."
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def in_view(locator):
    "Bring an element into view; its box. Both in one turn of the page: a message that comes in between may draw it anew."
    for _ in range(100):
        b = locator.evaluate("e => { e.scrollIntoViewIfNeeded(); const { x, y, width, height } = e.getBoundingClientRect(); return { x, y, width, height, there: e.isConnected } }")
        if b.pop("there"): return b
    raise AssertionError(f"{locator} is drawn anew again and again")


def at_rest(locator):
    "The same, when it has stopped moving: for ten frames nothing above it has grown. A hand that drags needs that, as playwright's own clicks do."
    in_view(locator)
    locator.evaluate("""e => new Promise(done => { let was = '', same = 0;
        const look = () => { const { x, y, width } = e.getBoundingClientRect(), now = [x, y, width].join(); same = now === was ? same + 1 : 0; was = now; same < 10 && e.isConnected ? requestAnimationFrame(look) : done() };
        look() })""")
    return in_view(locator)


def no_overflow(page):
    "Wait until nothing of the workbench is wider than its box."
    page.wait_for_function("() => [...document.querySelectorAll('.vl')].every(e => e.scrollWidth - e.clientWidth <= 1)")


def _labs_own(error):
    "JupyterLab complains of itself when a kernel is exchanged under it; what happens in our scripts has their blob's address in its trace."
    stack = error.stack or ""
    return "Canceled future for" in str(error) or "(reading 'kernel')" in str(error) or ("/static/lab/" in stack and "blob:" not in stack)


@contextmanager
def opened(chromium, lab, name, width=1400, height=1100, wait=".vl", run=True):
    "A notebook, open in Lab and run from top to bottom in a fresh kernel."
    page = chromium.new_page(viewport=dict(width=width, height=height))
    page.set_default_timeout(WAIT)
    page.faults = []
    page.on("pageerror", lambda e: _labs_own(e) or page.faults.append(str(e)))
    try:
        page.goto(f"{lab}/lab/tree/nbs/{name}.ipynb?reset", wait_until="domcontentloaded")
        page.wait_for_selector(".jp-Notebook .jp-Cell", state="attached")
        page.evaluate("async () => { const app = window.jupyterapp; await app.restored; await app.serviceManager.sessions.shutdownAll(); app.shell.collapseLeft(); }")
        page.goto(f"{lab}/lab/tree/nbs/{name}.ipynb?reset", wait_until="domcontentloaded")
        page.wait_for_selector(".jp-Notebook .jp-Cell", state="attached")
        page.evaluate("async () => { await window.jupyterapp.restored; window.jupyterapp.shell.collapseLeft(); }")
        page.wait_for_function("() => { const w = window.jupyterapp.shell.currentWidget; return w && w.sessionContext && w.sessionContext.session && w.sessionContext.session.kernel && w.sessionContext.session.kernel.status === 'idle' }")
        if run: page.evaluate("() => { window.ran = false; window.jupyterapp.commands.execute('runmenu:run-all').then(() => { window.ran = true }) }")
        page.wait_for_selector(wait)
        if run: page.wait_for_function("() => window.ran"), idle(page)
        if run: page.evaluate("() => document.querySelector('.vl').scrollIntoView()")
        yield page
        settled(page)
        assert page.faults == []
    except Exception:
        shot(page, f"failed-{name}")
        raise
    finally: page.close()


def fill(page, field, text):
    "Type into a field. What is typed goes where the focus is, and JupyterLab may take that away just then; so it is looked at."
    for _ in range(5):
        page.fill(field, text)
        if page.input_value(field) == text: return
    assert page.input_value(field) == text


def shot(page, name):
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=str(SHOTS/f"{name}.png"))


def both_themes(page, name):
    "A picture in the light and in the dark theme."
    for theme in ("Light", "Dark"):
        page.evaluate("t => window.jupyterapp.commands.execute('apputils:change-theme', { theme: `JupyterLab ${t}` })", theme)
        page.wait_for_function("d => document.querySelector('.vl').dataset.dark === String(d)", arg=theme == "Dark")
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        settled(page)
        shot(page, f"{name}-{theme.lower()}")
    page.evaluate("() => window.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Light' })")
