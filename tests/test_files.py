"""Reading that refuses in words, locks that outlive their owners, and saves that can be taken back."""
import fcntl, itertools, json, multiprocessing, os, random, signal, subprocess, sys, threading, time
from pathlib import Path

import numpy as np
import pytest

from valor_lab import core, files
from valor_lab.core import CannotWrite, ParameterError, process
from valor_lab.files import Held, Overtaken, kept, lock, mark, read_array, read_arrays, read_json, read_table, read_text, read_toml, restore, save_file, tail, visible

fork = multiprocessing.get_context("fork")

def run(*jobs):
    "Each function in a process of its own; the exit codes."
    ps = [fork.Process(target=j) for j in jobs]
    for p in ps: p.start()
    for p in ps: p.join(60)
    return [p.exitcode for p in ps]


@pytest.mark.parametrize("text", ["a = ", "a = [" * 5000, "a." * 40_000 + "b = 1", "a = 1\na = 2", "[a]\n[a]", "a = 99999-01-01", '"' * 9999, "x = {" * 200, "\0", "a = 1e", "a = 0x" + "f" * 5000])
def test_a_damaged_toml_file_is_named_at_once(tmp_path, text):
    (tmp_path/"x.toml").write_text(text)
    with pytest.raises(ParameterError, match="x.toml"): read_toml(tmp_path/"x.toml")

def test_a_good_toml_file_with_dots_and_brackets_in_its_texts_is_read(tmp_path):
    (tmp_path/"x.toml").write_text('"' + "a." * 50 + '" = "[' + "[{" * 100 + '"\nb = [[1, 2], [3, [4]]]')
    assert read_toml(tmp_path/"x.toml")["b"] == [[1, 2], [3, [4]]]

def test_only_ordinary_files_of_bounded_size_are_read(tmp_path):
    (tmp_path/"big").write_bytes(bytes(2000))
    for path in (tmp_path, "/dev/zero", tmp_path/"big", tmp_path/"none"):
        with pytest.raises(ParameterError): read_text(path, 1000)
    with pytest.raises(FileNotFoundError): read_json(tmp_path/"none")

def test_arrays_that_claim_more_than_they_hold_take_no_memory(tmp_path):
    np.savez(tmp_path/"a.npz", x=np.zeros(4))
    data = (tmp_path/"a.npz").read_bytes().replace(b"(4,), }" + b" " * 8, b"(4000000000,), }"[:15])
    (tmp_path/"b.npz").write_bytes(data)
    with pytest.raises(ParameterError, match="b.npz"): read_arrays(tmp_path/"b.npz")
    with pytest.raises(ParameterError, match="lacks 'y'"): read_arrays(tmp_path/"a.npz", ["y"])
    with pytest.raises(ParameterError, match="at most"): read_arrays(tmp_path/"a.npz", limit=10)

@pytest.mark.parametrize("x", [np.arange(24.).reshape(2, 3, 4), np.zeros((0, 4), bool), np.array(3), np.array(["ä", "b"]), np.asfortranarray(np.eye(3, dtype=">f4")), np.zeros((3, 0))])
def test_arrays_come_back_as_they_were(tmp_path, x):
    np.save(tmp_path/"x.npy", x), np.savez_compressed(tmp_path/"x.npz", x=x)
    for y in (read_array(tmp_path/"x.npy", "biufU"), read_arrays(tmp_path/"x.npz")["x"], read_array(tmp_path/"x.npy", "biufU", mapped=True)):
        assert y.dtype == x.dtype and y.shape == x.shape and (y == x).all()

def test_a_header_written_by_another_program_is_understood_and_its_code_never_run(tmp_path):
    head = b"{'shape': (2,), 'fortran_order': False, 'descr': '<f8'}"
    make = lambda h: b"\x93NUMPY\x01\x00" + len(h).to_bytes(2, "little") + h + np.arange(2.).tobytes()
    (tmp_path/"x.npy").write_bytes(make(head))
    assert read_array(tmp_path/"x.npy").tolist() == [0, 1]
    for bad in (b"__import__('os')", b"[" * 5000, b"{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,)}", b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"):
        (tmp_path/"x.npy").write_bytes(make(bad))
        with pytest.raises(ParameterError): read_array(tmp_path/"x.npy")

def test_the_end_of_a_long_log_costs_no_more_than_that_of_a_short_one(tmp_path):
    with open(tmp_path/"log", "wb") as f: f.truncate(4 << 30); f.seek(0, 2); f.write(b"\nlast but one\nlast\n")
    assert tail(tmp_path/"log", 2) == "last but one\nlast" and tail(tmp_path/"none") == ""


def test_many_processes_count_without_losing_one(tmp_path):
    (tmp_path/"n").write_text("0")
    def add():
        for _ in range(25):
            with lock(tmp_path/"n", wait=60): n = int((tmp_path/"n").read_text()); (tmp_path/"n").write_text(str(n + 1))
    assert run(add, add, add) == [0] * 3 and (tmp_path/"n").read_text() == "75"

def test_owners_killed_at_any_moment_hold_nobody_up_and_never_let_two_in(tmp_path):
    rng, folder = random.Random(0), tmp_path/"here"
    folder.mkdir()
    def work():
        with open(tmp_path/"inside", "w") as f:                        # the system itself lets go of this lock with its owner's last breath
            while True:
                with lock(folder/"n", wait=60):
                    try: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError: (tmp_path/"two were inside").touch()
                    fcntl.flock(f, fcntl.LOCK_UN)
    for _ in range(20):
        ps = [fork.Process(target=work) for _ in range(3)]
        for p in ps: p.start()
        time.sleep(rng.uniform(.02, .12))
        os.kill(ps[rng.randrange(3)].pid, signal.SIGKILL)
        time.sleep(rng.uniform(0, .02))                                # the others go on meanwhile, and one of them takes over
        for p in ps: p.kill(), p.join()
        assert not (tmp_path/"two were inside").exists() and {p.exitcode for p in ps} == {-signal.SIGKILL}
        with lock(folder/"n", wait=5): pass
        core._SWEPT.clear()
        core.sweep(folder)
        assert not list(folder.iterdir())

def test_a_second_writer_is_told_who_the_first_one_is(tmp_path):
    with lock(tmp_path/"x", doing="is harvesting into it"):
        assert run(lambda: _expect_held(tmp_path/"x", f"process {os.getppid()}", "harvesting")) == [0]
        with lock(tmp_path/"x"): pass                      # the same thread may enter again
        assert run(lambda: _expect_held(tmp_path/"x", "harvesting")) == [0]
    with lock(tmp_path/"x"): pass

def _expect_held(path, *words):
    try: lock(path).__enter__()
    except Held as e: assert all(w in str(e) for w in words), e
    else: raise AssertionError("it was not held")

@pytest.mark.parametrize("content", ["", "{}", "[" * 9999, '{"machine": 1, "pid": "x", "began": null, "token": "../../up"}'])
def test_a_damaged_lock_is_waited_for_and_then_taken_over(tmp_path, monkeypatch, content):
    monkeypatch.setattr(files, "BEAT", .05)
    place = tmp_path/".x.lock"
    place.write_text(content)
    with pytest.raises(Held): lock(tmp_path/"x").__enter__()
    os.utime(place, (1, 1))
    with lock(tmp_path/"x"): pass
    assert not list(tmp_path.iterdir())

def test_an_owner_on_another_machine_is_gone_when_its_pulse_has_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BEAT", .5)
    place, elsewhere = tmp_path/".x.lock", process() | dict(machine="ffffff", token="0" * 16, who="ada", host="node7", since="2026-03-01T12:00:00+00:00")
    place.write_text(json.dumps(elsewhere))
    with pytest.raises(Held, match="ada.*node7.*12:00"): lock(tmp_path/"x").__enter__()
    os.utime(place, (1, 1))                                  # old by the clock, but it still beats
    stop = threading.Event()
    def beat():
        for n in itertools.count(2):
            os.utime(place, (n, n))
            if stop.wait(.05): return
    beat = threading.Thread(target=beat)
    beat.start()
    with pytest.raises(Held): lock(tmp_path/"x").__enter__()
    stop.set(), beat.join()
    with lock(tmp_path/"x"): pass

def test_a_pulse_keeps_beating_and_calls_nothing_that_a_test_may_put_in_the_place_of_a_moment_of_sleep(tmp_path, monkeypatch):
    slept, moment = [], threading.Event()
    monkeypatch.setattr(files, "BEAT", .01), monkeypatch.setattr(files, "_PULSE", []), monkeypatch.setattr(time, "sleep", slept.append)
    with lock(tmp_path/"x"):
        place, end = tmp_path/".x.lock", time.monotonic() + 60
        for _ in range(3):
            os.utime(place, (1, 1))
            while place.stat().st_mtime == 1 and time.monotonic() < end: moment.wait(.01)
            assert place.stat().st_mtime > 1
    assert slept == []                                       # it was counted where a test asked whether somebody waits before he tries again

def test_a_file_system_without_links_has_locks_too(tmp_path, monkeypatch):
    def no(*a, **k): raise OSError(95, "Operation not supported")
    monkeypatch.setattr(os, "link", no)
    with lock(tmp_path/"x"), pytest.raises(Held): files._take(tmp_path/".x.lock", process() | dict(token="1" * 16), 0)
    assert not list(tmp_path.iterdir())

@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux")
def test_a_process_lives_until_its_last_thread_has_ended():
    "A process that is killed looks dead as soon as its first thread is, while another may still have a file open, or write."
    code = ("import ctypes, os, threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); print(flush=True); libc = ctypes.CDLL(None); "
            "libc.syscall({'x86_64': 60, 'aarch64': 93}[os.uname().machine], 0)")              # `exit` of one thread
    p = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        p.stdout.readline()
        while (said := Path(f"/proc/{p.pid}/stat").read_text().rpartition(")")[2].split())[0] != "Z": time.sleep(.01)
        assert core.is_alive(process(p.pid) | dict(began=said[19]))
    finally: p.kill()
    who = dict(process(p.pid), began=said[19])
    while Path(f"/proc/{p.pid}/stat").read_text().rpartition(")")[2].split()[17] != "1": time.sleep(.01)
    assert not core.is_alive(who)                                       # nobody has waited for it yet
    p.wait()
    assert not core.is_alive(who)


def test_a_process_number_that_was_given_anew_is_another_process():
    assert core.is_alive(process()) and not core.is_alive(process() | dict(began="12")) and core.is_alive(process(os.getppid()))


def test_two_who_replace_one_file_are_both_kept_or_told(tmp_path):
    path = tmp_path/"x.json"
    save_file(path, "0")
    def save(name):
        try: save_file(path, name); (tmp_path/f"{name}.saved").touch()
        except Overtaken as e: assert "was saved by" in str(e)
    for n in range(10):
        run(lambda: save(f"a{n}"), lambda: save(f"b{n}"))
        texts = [v["path"].read_text() for v in kept(path)]
        saved = [p.stem for p in tmp_path.glob(f"?{n}.saved")]
        assert saved and set(saved) <= set(texts) and path.read_text() == texts[-1] in saved

def test_a_file_that_was_written_by_hand_is_kept_before_it_is_replaced(tmp_path):
    (tmp_path/"a.toml").write_text("by hand")
    save_file(tmp_path/"a.toml", "new", who="Ada Lovelace/../x")
    assert [(v["path"].read_text(), v["who"], v["now"]) for v in kept(tmp_path/"a.toml")] == [("by hand", "", False), ("new", "Ada_Lovelace____x", True)]
    assert restore(tmp_path/"a.toml", 1).read_text() == "by hand" and [v["now"] for v in kept(tmp_path/"a.toml")] == [False, False, True]
    with pytest.raises(ParameterError, match="1, 2, 3"): restore(tmp_path/"a.toml", 7)
    for n in range(20): save_file(tmp_path/"a.toml", str(n))
    assert len(kept(tmp_path/"a.toml")) == 10 and visible(tmp_path, "*.toml") == [tmp_path/"a.toml"]

def test_a_removed_file_is_not_written_again_by_one_who_thinks_it_there(tmp_path):
    save_file(tmp_path/"a", "x")
    seen = mark(tmp_path/"a")
    (tmp_path/"a").unlink()
    with pytest.raises(Overtaken, match="removed"): save_file(tmp_path/"a", "y", seen)

@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_is_read_only_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWrite, match="read-only"): save_file(tmp_path/"a", "x")

def test_what_a_killed_writer_left_is_no_data_and_is_swept_on_the_next_write(tmp_path):
    def die():
        with core.atomic_path(tmp_path/"p.toml") as tmp: tmp.write_text("half"); os.kill(os.getpid(), signal.SIGKILL)
    def die_in_folder():
        with files.atomic_folder(tmp_path/"run") as tmp: (tmp/"a").write_text("half"); os.kill(os.getpid(), signal.SIGKILL)
    assert run(die) + run(die_in_folder) == [-9, -9]
    assert len(list(tmp_path.iterdir())) == 1 and not visible(tmp_path)      # the second one swept what the first one left
    with core.atomic_path(tmp_path/"q.toml") as tmp: tmp.write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ["q.toml"]

@pytest.mark.parametrize("text", ["engine = " + "9"*4200, "engine = 0x" + "f"*9000, "engine" + ".a"*4000 + " = 1", "engine = " + "["*7000, "plugins = " + "[["*400 + "]]"*400,
                                  "engine = 1e400", "plugins = [nan]", "media_folders = [1979-05-27]", "engine = \"\\ud800\"", "\0", "engine = 1\nengine = 2"])
def test_settings_with_endless_numbers_or_depth_are_refused_in_a_sentence(tmp_path, text):
    from valor_lab.core import read_settings
    (tmp_path/"valor.toml").write_text(text)
    with pytest.raises(ParameterError) as e: read_settings(tmp_path)
    assert len(str(e.value)) < 1000

@pytest.mark.parametrize("where", ["/proc/valor/x.txt", "FILE/x.txt", "n" * 300 + "/x.txt"])
def test_a_place_that_can_hold_no_file_is_refused_in_a_sentence(tmp_path, where):
    (tmp_path/"FILE").write_text("not a folder")
    with pytest.raises(ParameterError, match="cannot be written"): core.atomic_path(tmp_path/where).__enter__()
    with pytest.raises(ParameterError, match="cannot be written"): files.atomic_folder(tmp_path/where).__enter__()


@pytest.mark.parametrize("text", ["x = 1\n" + "a"*200_000, "[" + "a-"*100_000 + "]\nx = 1", 'x = "' + '\\"'*100_000, "x = '" + '"'*100_000 + "'", "x = [" + "a."*100_000],
                         ids=["name", "table", "quotes", "literal", "dots"])
def test_a_long_run_of_letters_takes_no_longer_than_many_lines(tmp_path, text):
    (tmp_path/"x.toml").write_text(text)                                         # it was minutes: whoever waits here has found the fault again
    try: read_toml(tmp_path/"x.toml")
    except ParameterError as e: assert len(str(e)) < 500


@pytest.mark.parametrize("cell", ["a"*200_000, "1"*100_000 + "a"*100_000, " "*100_000 + "6" + "x"*100_000], ids=["letters", "number", "space"])
def test_a_cell_without_end_is_no_time_and_takes_no_time(cell):
    from valor_lab.datasets.tables import seconds_of
    with pytest.raises(ValueError, match="is no time"): seconds_of(cell)


def test_a_list_in_a_cell_that_never_closes_a_quotation_takes_no_time():
    from valor_lab.datasets.tables import _unlisted
    assert _unlisted("['Dog', 'Rain']") == "Dog\nRain"
    assert _unlisted(odd := "['" + "\\'"*100_000 + "]") == odd
