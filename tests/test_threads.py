"""Threads, and Python that runs inside garbage collection. With CPython 3.11's `ast` the two do not go together: `np.load` under the
conditions below raises `SystemError: AST constructor recursion depth mismatch` for about one file in three thousand (seen 2026-11-27)."""
import ast, gc, sys, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np, pytest

from valor_lab.core import read_npy, read_npz
from valor_lab.datasets import read_features
from valor_lab.harvest import read_array

@contextmanager
def python_in_garbage_collection():
    "What hypothesis and others install, made frequent: a callback that lets other threads go on, very small generations, threads that switch at once."
    old, interval, callback = gc.get_threshold(), sys.getswitchinterval(), lambda phase, info: time.sleep(0)
    gc.callbacks.append(callback), gc.set_threshold(5, 2, 2), sys.setswitchinterval(1e-6)
    try: yield
    finally: gc.callbacks.remove(callback), gc.set_threshold(*old), sys.setswitchinterval(interval)

@pytest.fixture
def folder(tmp_path):
    for i in range(40): np.save(tmp_path/f"clip{i:07d}.npy", np.full((10, 8), i, np.float32))
    np.savez_compressed(tmp_path/"all.npz", ids=np.array(["a", "b"]), audio=np.ones((2, 10)))
    return tmp_path

def in_threads(f, n):
    def said(i):
        try: f(i)
        except BaseException as e: return f"{type(e).__name__}: {e}"
    with ThreadPoolExecutor(8) as pool: return [e for e in pool.map(said, range(n)) if e]

def test_arrays_are_read_from_many_threads_while_python_runs_in_garbage_collection(folder):
    with python_in_garbage_collection():
        assert not in_threads(lambda i: read_npy(folder/f"clip{i % 40:07d}.npy"), 4000)
        assert not in_threads(lambda i: read_npy(folder/f"clip{i % 40:07d}.npy", mmap=True), 500)
        assert not in_threads(lambda i: read_npz(folder/"all.npz"), 500)
        assert not in_threads(lambda i: read_array(folder/f"clip{i % 40:07d}.npy", (10, 8)), 1000)

def test_features_of_a_whole_set_are_read_so_and_beside_somebody_who_parses(folder):
    ids = [f"clip{i:07d}" for i in range(40)]
    read_features(folder, ids, (10, 8))                                             # imports are done
    with python_in_garbage_collection(), ThreadPoolExecutor(1) as other:
        going = [True]
        def parse():
            while going[0]: ast.literal_eval("{'descr': '<f4', 'shape': (10, 128)}")       # what a notebook's own cells do in the main thread
        parsing = other.submit(parse)
        try: sets = [read_features(folder, ids, (10, 8)) for _ in range(25)]
        finally: going[0] = False
        parsing.result()
    assert all((s[:, 0, 0] == np.arange(40)).all() for s in sets)

def test_headers_that_only_numpy_understands_are_read_one_at_a_time(tmp_path):
    odd = np.zeros(3, dtype=[("a", "<i4"), ("b", "<f4", (2,))])
    np.save(tmp_path/"odd.npy", odd)
    with python_in_garbage_collection(): assert not in_threads(lambda i: read_npy(tmp_path/"odd.npy"), 1000)
    assert read_npy(tmp_path/"odd.npy").dtype == odd.dtype

@pytest.mark.parametrize("x", [np.arange(6.).reshape(2, 3), np.asfortranarray(np.eye(3, 2, dtype=np.float16)), np.array(7), np.array(["é", "bc"]), np.array([b"x", b"yz"]), np.zeros((0, 4), bool),
                               np.zeros(0, np.float16), np.arange(3, dtype=">i8"), np.array([1 + 2j]), np.zeros(2, "U0"), np.ones((2, 1, 3), np.uint8), np.array(["2026-01-01"], "M8[D]")])
def test_an_array_comes_back_as_numpy_reads_it(tmp_path, x):
    np.save(tmp_path/"x.npy", x), np.savez(tmp_path/"x.npz", x=x)
    for y in (read_npy(tmp_path/"x.npy"), read_npz(tmp_path/"x.npz")["x"], *([read_npy(tmp_path/"x.npy", mmap=True)] if x.size and x.dtype.itemsize else [])):
        z = np.load(tmp_path/"x.npy", allow_pickle=False)
        assert y.dtype == z.dtype and y.shape == z.shape and np.array_equal(y, z) and y.flags.f_contiguous == z.flags.f_contiguous
    assert read_npy(tmp_path/"x.npy").flags.writeable

@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:20], lambda b: b[:9], lambda b: b"", lambda b: b"no array at all", lambda b: b.replace(b"(10, 8)", b"(99, 8)"), lambda b: b.replace(b"'<f4'", b"'|O'\t")])
def test_a_damaged_array_is_a_value_error(folder, damage):
    path = folder/"clip0000000.npy"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises((ValueError, EOFError)): read_npy(path)
    with pytest.raises(ValueError, match="clip0000000.npy"): read_array(path, (10, 8))

def test_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path/"x.npy", np.array([{}], object), allow_pickle=True), np.savez(tmp_path/"x.npz", x=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"): read_npy(tmp_path/"x.npy")
    with pytest.raises(ValueError, match="allow_pickle"): read_npz(tmp_path/"x.npz")
    (tmp_path/"x.npz").write_bytes((tmp_path/"x.npz").read_bytes()[:50])
    with pytest.raises(ValueError, match="x.npz"): read_npz(tmp_path/"x.npz")
    with pytest.raises(FileNotFoundError): read_npy(tmp_path/"none.npy")
