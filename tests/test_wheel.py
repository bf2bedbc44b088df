"""A wheel, installed into a fresh environment, used from an empty folder far from any checkout."""
import json, os, re, shutil, subprocess, sys, sysconfig, urllib.request, venv, zipfile
from pathlib import Path

import pytest

from browser import free_port, serving

ROOT = Path(__file__).resolve().parent.parent
for module in ("torch", "papermill", "voila", "av"): pytest.importorskip(module)

def run(*command, **options):
    out = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=1800, **options)
    assert out.returncode == 0, f"{command}\n{out.stdout[-1500:]}\n{out.stderr[-3000:]}"
    return out

@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    "Built from a copy without what git ignores, as a fresh clone would."
    source, out = tmp_path_factory.mktemp("source")/"valor_lab", tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", ".hypothesis", ".pytest_cache", ".venv", "data", "runs", "reports", "build", "dist", "site", "*.egg-info", "__pycache__", "test-artifacts", ".ipynb_checkpoints"))
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-w", out, source, cwd=out)
    return next(out.glob("*.whl"))

@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    "`(environment, empty folder)`; the large dependencies are looked up in the environment of these tests."
    home = tmp_path_factory.mktemp("fresh")
    venv.create(home/"env", with_pip=False)
    bin_ = home/"env"/("Scripts" if os.name == "nt" else "bin")
    site = Path(run(bin_/"python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    (site/"dependencies.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    run(sys.executable, "-m", "pip", "--python", bin_/"python", "install", "--no-deps", "--disable-pip-version-check", "--force-reinstall", wheel)
    (home/"empty").mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("VALOR_", "PYTHON", "JUPYTER", "IN_TEST", "JPY_"))}
    kernels = home/"jupyter"/"kernels"/"python3"                                    # the kernel is this environment's own
    kernels.mkdir(parents=True)
    (kernels/"kernel.json").write_text(json.dumps(dict(argv=[str(bin_/"python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"], display_name="Python 3", language="python")))
    env |= dict(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", PATH=f"{bin_}{os.pathsep}{env['PATH']}", JUPYTER_PATH=f"{home/'jupyter'}{os.pathsep}{sys.prefix}/share/jupyter", JUPYTER_DATA_DIR=str(home/"jupyter"), IPYTHONDIR=str(home/".ipython"), MPLBACKEND="agg")
    return bin_, home/"empty", env

def test_a_wheel_holds_the_notebooks_the_published_results_and_nothing_that_is_not_used(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {n for n in names if n.endswith(".ipynb")} == {f"valor_lab/notebooks/{p.name}" for p in (ROOT/"nbs").glob("*.ipynb")}
    assert "valor_lab/published_results.csv" in names and "valor_lab/cli/init.py" in names and [n for n in names if n.startswith("valor_lab/workbench/static/")] and [n for n in names if "/weights/" in n]
    assert {n for n in names if n.endswith(".pyi")} == {n[:-3] + ".pyi" for n in names if n.endswith(".py") and not n.endswith("_modidx.py")}
    assert not [n for n in names if n.startswith(("tests/", "benchmarks/", "nbs/", "data/"))]
    for n in (n for n in names if n.endswith(".ipynb")): assert zipfile.ZipFile(wheel).read(n) == (ROOT/"nbs"/Path(n).name).read_bytes()

def test_wheel_and_source_say_what_a_package_index_wants_to_know(wheel, tmp_path):
    "Twice read: by twine, and for links, classifiers and a README whose links lead out of it."
    import tarfile
    pytest.importorskip("twine"), pytest.importorskip("build")
    source = tmp_path/"valor_lab"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", ".hypothesis", ".pytest_cache", ".venv", "data", "runs", "reports", "build", "dist", "site", "*.egg-info", "__pycache__", "test-artifacts", ".ipynb_checkpoints"))
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path/"dist", source, cwd=tmp_path)
    packed = next((tmp_path/"dist").glob("*.tar.gz"))
    run(sys.executable, "-m", "twine", "check", "--strict", packed, wheel)
    names = {n.partition("/")[2] for n in tarfile.open(packed).getnames()}
    assert {"tests/conftest.py", "tests/browser.py", "docs/conf.py", "nbs/train.ipynb", "nbs/api/metrics/00_avvp.ipynb", "constraints.txt", "Makefile", "CITATION.cff"} <= names
    metadata = zipfile.ZipFile(wheel).read(next(n for n in zipfile.ZipFile(wheel).namelist() if n.endswith("METADATA"))).decode()
    assert metadata.count("\nProject-URL: ") >= 4 and "Classifier: Typing :: Typed" in metadata and "License-Expression: Apache-2.0" in metadata
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", metadata, flags=re.S))
    assert len(links) > 10 and all(u.startswith("https://") for u in links) and "py.typed" in str(zipfile.ZipFile(wheel).namelist())

@pytest.mark.parametrize("python", ["python3.11", "python3.12"])
def test_the_wheel_is_imported_by_every_python_that_it_names(python, wheel, tmp_path):
    "What `import valor_lab` needs is one small package in plain Python: borrowed, so that nothing is downloaded."
    import lazy_loader
    found = next((p for p in (shutil.which(python), *map(str, Path.home().glob(f".pyenv/versions/{python[6:]}.*/bin/{python}"))) if p and subprocess.run([p, "-c", ""], capture_output=True).returncode == 0), None)
    if found is None: pytest.skip(f"no {python} here")
    zipfile.ZipFile(wheel).extractall(tmp_path)
    shutil.copytree(Path(lazy_loader.__file__).parent, tmp_path/"lazy_loader")
    run(found, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import valor_lab; assert {str(tmp_path)!r} in valor_lab.__file__ and sys.version_info[:2] == ({python[6:].replace('.', ', ')})")
    done = subprocess.run([found, "-I", "-m", "compileall", "-q", str(tmp_path/"valor_lab")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1500:]

def test_the_installed_package_makes_a_workspace_trains_in_it_and_serves_its_pages(installed):
    bin_, empty, env = installed
    where = run(bin_/"python", "-c", "import valor_lab, valor_lab.cli; print(valor_lab.__file__)", cwd=empty, env=env).stdout.strip()
    assert str(bin_.parent) in where and str(ROOT) not in where, where
    run(bin_/"valor", "init", "work", cwd=empty, env=env)
    work = empty/"work"
    out = run(bin_/"python", "-m", "papermill", "nbs/train.ipynb", "out.ipynb", "-p", "size", "tiny", "-p", "preset", "han", "-p", "epochs", "1", "-k", "python3", cwd=work, env=env)
    assert len(list((work/"runs").glob("han-demo-tiny-s0-*"))) == 1 and (next((work/"reports").iterdir())/"scores.csv").exists() and (work/"data"/"demo"/"tiny").is_dir()
    said = json.loads((work/"out.ipynb").read_text())
    assert not [c for c in said["cells"] if any(o.get("output_type") == "error" for o in c.get("outputs", []))]
    run(bin_/"python", "-c", f"from valor_lab.training import read_published; import valor_lab; assert len(read_published()) > 10 and {str(bin_.parent)!r} in valor_lab.__file__", cwd=work, env=env)
    port = free_port()
    command = [str(bin_/"valor"), "app", "--size", "tiny", "--port", str(port), "--no-browser"]
    with serving(command, f"http://127.0.0.1:{port}/", env, work, work/"app.log") as p:
        address = re.search(rf"http://127\.0\.0\.1:{port}/\S*", (work/"app.log").read_text())[0]              # as it is printed, with what it needs
        visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())                      # the token becomes a cookie
        assert visitor.open(address, timeout=60).status == 200 and p.poll() is None
    assert f"workspace: {work/'valor.toml'}" in (work/"app.log").read_text() and p.poll() is not None
    with pytest.raises(OSError): urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)      # the server went with the command
    assert not list(empty.glob("[!w]*")), "something was written outside the workspace"
