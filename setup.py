"""The wheel brings the notebooks along: they are copied into the package when it is built, and `valor init` copies them out.
So are stubs for type checkers. Links of the README lead into the repository, so that they work where a package index shows it."""
import configparser, re, shutil, sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

class BuildWithNotebooks(build_py):
    def run(self):
        super().run()
        if self.editable_mode: return                              # a checkout's notebooks are used where they lie
        target = Path(self.build_lib)/"valor_lab"/"notebooks"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in sorted(Path("nbs").glob("*.ipynb")): shutil.copyfile(path, target/path.name)
        sys.path.insert(0, str(Path("docs/tools").resolve()))              # what type checkers cannot see in the source: docs/tools/stubs.py
        import stubs
        stubs.write(self.build_lib, Path.cwd())

def readme():
    settings = configparser.ConfigParser()
    settings.read("settings.ini", encoding="utf-8")
    home = settings["DEFAULT"]["git_url"]
    place = lambda m: f"{m[1]}({home}/{'raw' if m[1].startswith('!') else 'blob'}/main/{m[2]})"
    return re.sub(r"(!?\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)", place, Path("README.md").read_text(encoding="utf-8"))

setup(cmdclass={"build_py": BuildWithNotebooks}, long_description=readme(), long_description_content_type="text/markdown")
