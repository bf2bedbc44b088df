"""Who may open the pages: those with the address and its token, from these pages, and never more kernels than the cap."""
import contextlib, http.client, os, re, signal, socket, subprocess, time

import nbformat
import pytest

from browser import free_port

pytest.importorskip("voila")
psutil = pytest.importorskip("psutil")
CAP, TOKEN = 3, "a1" * 24


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    "A server with one small page; its port and its process."
    folder = tmp_path_factory.mktemp("pages")
    python = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('seen by ' + 'a visitor')")], metadata=dict(kernelspec=python)), folder/"browse.ipynb")
    port = free_port()
    from valor_lab.workbench import app
    env = {k: v for k, v in os.environ.items() if k != "IN_TEST"} | dict(VALOR_TOKEN=TOKEN, VALOR_HOSTS="lab.example")
    with open(folder/"log", "w") as log: p = subprocess.Popen(app.command(folder, port, browser=False, dataset="demo", size="tiny", kernels=CAP), cwd=folder, env=env, stdout=log, stderr=log)
    until = time.monotonic() + 120
    while time.monotonic() < until and p.poll() is None:
        try: socket.create_connection(("127.0.0.1", port), 1).close(); break
        except OSError: time.sleep(.2)
    assert p.poll() is None, (folder/"log").read_text()[-2000:]
    yield port, p, folder/"log"
    family = psutil.Process(p.pid).children(recursive=True)
    p.send_signal(signal.SIGTERM)
    try: p.wait(30)
    except subprocess.TimeoutExpired: p.kill()
    for q in psutil.wait_procs(family, 30)[1]:
        with contextlib.suppress(psutil.NoSuchProcess): q.kill()


def ask(port, path="/", method="GET", **headers):
    "Status, headers and text of one request; underscores in names of headers are dashes."
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=150)
    c.putrequest(method, path, skip_host=True)
    for k, v in ({"Host": f"127.0.0.1:{port}"} | {k.replace("_", "-"): v for k, v in headers.items()}).items(): c.putheader(k, v)
    c.endheaders()
    r = c.getresponse()
    text = r.read().decode(errors="replace") if r.status != 101 else ""
    c.close()
    return r.status, dict(r.getheaders()), text

def cookie(port):
    status, headers, _ = ask(port, f"/?token={TOKEN}")
    assert status == 302 and TOKEN not in headers["Location"] and "HttpOnly" in headers["Set-Cookie"] and "SameSite=Strict" in headers["Set-Cookie"] and TOKEN not in headers["Set-Cookie"]
    return headers["Set-Cookie"].split(";")[0]

SOCKET = dict(Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", Sec_WebSocket_Version="13")


@pytest.mark.parametrize("path", ["/", "/voila/render/browse.ipynb", "/voila/static/main.js", "/voila/files/browse.ipynb", "/api/kernels/0", "/voila/api/contents", "/no/such/page", "/?token=", "/?token=other"])
def test_without_the_token_nothing_is_answered(served, path):
    for method in ("GET", "POST", "PUT", "DELETE"): assert ask(served[0], path, method)[0] == 403


@pytest.mark.parametrize("headers", [dict(Host="evil.example"), dict(Host="evil.example:8866"), dict(Host="127.0.0.1.evil.example"), dict(Origin="http://evil.example"), dict(Origin="null"), dict(Origin="http://127.0.0.1:1"), dict(Host="")])
def test_a_foreign_host_or_origin_is_refused_also_with_the_token_and_for_sockets(served, headers):
    port = served[0]
    good = dict(Cookie=cookie(port))
    assert ask(port, "/", **good | headers)[0] == 403
    assert ask(port, f"/?token={TOKEN}", **headers)[0] == 403
    assert ask(port, "/api/kernels/00000000-0000-0000-0000-000000000000/channels", **SOCKET | good | headers)[0] == 403


def test_with_the_token_the_pages_open_and_a_name_that_was_given_counts(served):
    port = served[0]
    good = dict(Cookie=cookie(port))
    assert ask(port, "/", **good)[0] == 200 and ask(port, "/", **good | dict(Origin=f"http://127.0.0.1:{port}"))[0] == 200
    assert ask(port, "/", Authorization=f"token {TOKEN}", Host="lab.example")[0] == 200
    assert ask(port, "/", Cookie=good["Cookie"][:-1] + "x")[0] == 403


def resident(process):
    "Bytes of a process in memory; none of one that has ended."
    try: return process.memory_info().rss
    except psutil.NoSuchProcess: return 0


def test_twenty_visitors_who_leave_at_once_leave_no_more_kernels_than_the_cap(served):
    port, p, log = served
    good, seen, most = dict(Cookie=cookie(port)), [], 0
    def kernels():
        out = []
        for q in psutil.Process(p.pid).children():                                # a kernel's own child is none
            try: out += [q] if "ipykernel_launcher" in " ".join(q.cmdline()) else []
            except psutil.NoSuchProcess: pass                                  # it ended while it was looked at
        return out
    for _ in range(20):
        status, _, text = ask(port, "/voila/render/browse.ipynb", **good)
        seen.append(status == 200 and "seen by a visitor" in text)
        most = max(most, len(kernels()))
    memory = sum(map(resident, [psutil.Process(p.pid), *kernels()]))
    print(f"{sum(seen)} of 20 pages shown, at most {most} kernels, {memory / 2**20:.0f} MB at the end")
    until = time.monotonic() + 60                                              # one that was told to end may take a moment
    while len(kernels()) > CAP and time.monotonic() < until: time.sleep(.2)
    assert all(seen) and most <= CAP and len(kernels()) <= CAP and memory < 3 << 30, log.read_text()[-2000:]


@pytest.fixture
def house(monkeypatch):
    "Kernels that take a moment to start and no process; a house of three."
    import asyncio
    from valor_lab.workbench.gate import AsyncMappingKernelManager, Kernels
    log = dict(most=0)
    async def start(self, *, kernel_id=None, path=None, **kw):
        await asyncio.sleep(.02)
        self._kernels[key := f"k{log.setdefault('n', 0)}"] = object()
        log["n"] += 1
        log["most"] = max(log["most"], len(self))
        return key
    async def shut(self, key, now=False): del self._kernels[key]
    async def run(self, kernel, source):
        await asyncio.sleep(.02)
        if log.get("deaf"):
            if log.get("swept"): self._kernels.pop(kernel)                     # the sweep was faster
            raise TimeoutError("it says nothing")
    monkeypatch.setattr(AsyncMappingKernelManager, "start_kernel", start)
    monkeypatch.setattr(AsyncMappingKernelManager, "shutdown_kernel", shut)
    monkeypatch.setattr(Kernels, "_run", run)
    kernels = Kernels(most=CAP)
    monkeypatch.setattr(kernels, "unwatched", lambda seconds: [k for k in kernels._kernels if k in log.get("left", ())])
    return kernels, log


def test_a_visitor_and_the_kernel_that_is_warmed_up_never_take_the_same_last_place(house):
    import asyncio
    kernels, log = house
    async def story():
        for _ in range(2): await kernels.start_kernel()
        return (await asyncio.gather(kernels._warm_up("", {}, 0), kernels.start_kernel(), kernels._warm_up("", {}, 0)))[1]
    last = asyncio.run(story())
    assert log["most"] == CAP == len(kernels) and last in kernels                # the visitor got it, as the warm one or in its stead


def test_four_who_come_at_once_into_a_house_of_three_wait_for_one_that_is_left(house):
    import asyncio
    kernels, log = house
    log["left"] = ["k0"]
    async def story(): return await asyncio.gather(*(kernels.start_kernel() for _ in range(4)))
    got = asyncio.run(story())
    assert log["most"] == CAP and got == ["k0", "k1", "k2", "k3"] and sorted(kernels._kernels) == ["k1", "k2", "k3"]

@pytest.mark.parametrize("swept", (False, True))
def test_a_kernel_that_does_not_answer_is_not_kept(house, swept):
    import asyncio
    kernels, log = house
    log["swept"] = swept
    async def story():
        await kernels._warm_up("", {}, 0)
        warm = kernels.warm
        log["deaf"] = True
        got = await kernels.start_kernel()
        await kernels._warm_up("", {}, 0)                                      # it cannot be warmed up either: it ends, and takes no place
        return warm, got
    warm, got = asyncio.run(story())
    assert got != warm and list(kernels._kernels) == [got]


def test_who_waited_behind_others_at_a_full_house_is_not_told_to_wait_again(house, monkeypatch):
    import asyncio
    from types import SimpleNamespace
    from tornado.web import HTTPError
    from valor_lab.workbench import gate
    kernels, log = house
    clock = [0.]
    monkeypatch.setattr(gate, "time", SimpleNamespace(monotonic=lambda: clock[0], time=time.time))
    async def story():
        for _ in range(CAP): await kernels.start_kernel()
        asyncio.get_running_loop().call_later(.1, clock.__setitem__, 0, 21.)   # so late it is, and will be for all of them
        return await asyncio.wait_for(asyncio.gather(*(kernels.start_kernel() for _ in range(4)), return_exceptions=True), 60)
    answers = asyncio.run(story())
    assert all(isinstance(a, HTTPError) and a.status_code == 503 and f"room for {CAP}" in str(a) for a in answers)


def test_only_kernels_that_are_idle_and_known_to_be_left_count_as_left():
    from datetime import datetime, timedelta, timezone
    from types import SimpleNamespace
    from traitlets import TraitError
    from valor_lab.workbench.gate import Kernels
    ago = lambda s, **kw: SimpleNamespace(last_activity=datetime.now(timezone.utc) - timedelta(seconds=s), execution_state="idle", **kw)
    class Begun:
        execution_state = "idle"
        @property
        def last_activity(self): raise TraitError("not yet")
    kernels = Kernels(most=CAP)
    kernels._kernels.update(old=ago(99), older=ago(200), warm=ago(500), given=ago(500), seen=ago(500), young=ago(1), begun=Begun())
    kernels._kernels["busy"] = SimpleNamespace(last_activity=ago(500).last_activity, execution_state="busy")
    kernels._kernel_connections["seen"] = 1
    kernels.warm, kernels.given = "warm", "given"
    assert kernels.unwatched(5) == ["older", "old"]


def test_a_kernel_that_dies_of_what_every_page_needs_makes_room(house, monkeypatch):
    import asyncio
    from types import SimpleNamespace
    from valor_lab.workbench.gate import Kernels
    kernels, log = house
    async def run(self, kernel, source):
        self._kernels[kernel] = SimpleNamespace(provisioner=SimpleNamespace(pid=2))      # Jupyter has started it again
        await asyncio.sleep(600)                                                        # and nobody answers what the first was asked
    monkeypatch.setattr(Kernels, "_run", run)
    asyncio.run(asyncio.wait_for(kernels._warm_up("", {}, 0), 60))
    assert len(kernels) == 0 and not kernels.warming and not hasattr(kernels, "warm")


class Line:
    "A kernel's client whose kernel says what is planned: one list of what comes for every question."
    def __new__(cls, *turns, alive=True):
        from queue import Empty
        from valor_lab.workbench.gate import PromptClient
        say = lambda kind, asked, **content: dict(parent_header=dict(msg_id=asked), msg_type=kind, content=content)
        class Scripted(PromptClient):
            asked, shell, iopub, replies = 0, [], [], []
            def kernel_info(self):
                self.asked += 1
                for word in turns[min(self.asked, len(turns)) - 1].split():
                    kind, _, back = word.partition("-")
                    asked = f"q{self.asked - int(back or 0)}"
                    if kind == "reply": self.shell.append(say("kernel_info_reply", asked, n=self.asked))
                    elif kind == "print": self.iopub.append(say("stream", "page"))
                    else: self.iopub.append(say("status", asked, execution_state=kind))
                return f"q{self.asked}"
            async def get_shell_msg(self, timeout): return self.shell.pop(0) if self.shell else cls.none(Empty)
            async def get_iopub_msg(self, timeout): return self.iopub.pop(0) if self.iopub else cls.none(Empty)
            async def is_alive(self): return alive
            def _handle_kernel_info_reply(self, reply): self.replies.append(reply["content"]["n"])
        return Scripted()
    @staticmethod
    def none(kind): raise kind


@pytest.mark.parametrize("turns, questions", [
    (["print busy reply idle"], 1),                    # what was printed before is not left for the page
    (["reply", "busy reply idle"], 2),                 # its first broadcast was lost: the page would have waited for it for ever
    (["", "reply-1 reply idle-1 busy idle"], 2),       # it was slow: its answer to the first question is no answer to the second
    (["busy reply", "idle-1 busy reply idle"], 2)])
def test_a_kernel_is_ready_when_its_answer_and_the_end_of_it_have_come(turns, questions):
    import asyncio
    from types import SimpleNamespace
    line = Line(*turns)
    type(line).parent = SimpleNamespace(execution_state="starting", last_activity=None)
    asyncio.run(line.wait_for_ready(5))
    assert line.asked == questions == line.replies[-1] and line.iopub == line.shell == []
    assert time.time() - line.parent.last_activity.timestamp() < 60                # its beginning, however long, is no time for which it was left
    assert line.parent.execution_state == "idle"       # else a page whose cells are done before Jupyter's watcher hears would never be left


def test_a_kernel_that_works_is_not_called_idle():
    import asyncio
    from types import SimpleNamespace
    line = Line("busy reply idle")
    type(line).parent = SimpleNamespace(execution_state="busy")
    asyncio.run(line.wait_for_ready(5))
    assert line.parent.execution_state == "busy"


def test_a_kernel_that_has_ended_or_never_answers_is_not_waited_for():
    import asyncio
    with pytest.raises(RuntimeError, match="ended before it answered"): asyncio.run(Line("", alive=False).wait_for_ready(5))
    class Mute(type(Line(""))):
        async def get_shell_msg(self, timeout): await asyncio.sleep(9)
    with pytest.raises(RuntimeError, match="not answer within 0.05 s"): asyncio.run(Mute().wait_for_ready(.05))


def test_a_page_asks_no_other_server_for_anything_and_has_a_language_a_title_and_a_landmark(served):
    port = served[0]
    status, _, text = ask(port, "/voila/render/browse.ipynb", **dict(Cookie=cookie(port)))
    asked = re.findall(r"<(?:link|script|img|iframe|source)[^>]*?(?:src|href)=[\"']([^\"']+)", text)
    assert status == 200 and asked and not [a for a in asked if re.match(r"(https?:)?//", a)]
    assert re.search(r"<html lang=.en", text) and re.search(r"<title>\s*\S+", text) and text.count('role="main"') == 1
    assert len(re.findall(r"<script[^>]*/voila\.js", text)) == 1
    order = [text.index(k) for k in ("jupyter-config-data", "/voila.js", "seen by a visitor")]
    assert order == sorted(order)                                              # the scripts are asked for before the cells are done


def test_no_template_is_compiled_twice_and_a_kernel_waits_for_the_first_visitor(monkeypatch):
    import jinja2
    from voila.exporter import VoilaExporter
    from voila.paths import collect_template_paths
    from valor_lab.workbench import gate
    monkeypatch.setattr(gate.Compiled, "kept", {})
    make = lambda kind: kind(template_paths=[str(gate.FRAME), *collect_template_paths(["voila", "nbconvert"], "lab", prune=True)], template_name="lab", base_url="/")
    compiled, real = [], jinja2.Environment.compile
    def counted(self, source, name=None, *a, **kw):
        compiled.append(name)
        return real(self, source, name, *a, **kw)
    monkeypatch.setattr(jinja2.Environment, "compile", counted)
    for turn in range(2):
        env = make(gate.PageExporter).environment
        env.filters |= dict.fromkeys(("highlight_code", "trusted"), str)
        env.get_template("index.html.j2")
        assert compiled == ["index.html.j2"]


def test_a_page_whose_cell_fails_says_why_without_a_traceback():
    from valor_lab.workbench.gate import PageExecutor
    cell = nbformat.v4.new_code_cell("load()", execution_count=5, outputs=[nbformat.v4.new_output("error", ename="ParameterError", evalue="data set 'later': it raised", traceback=["File secret.py"])])
    shown = PageExecutor(nbformat.v4.new_notebook(cells=[cell])).strip_code_cell_errors(cell)
    assert shown["outputs"][0]["traceback"] == ["This page cannot go on. data set 'later': it raised"] and "secret" not in str(shown)
