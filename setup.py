"""The wheel brings the notebooks along: they are copied into the package when it is built, and `valor init` copies them out."""
import shutil
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

setup(cmdclass={"build_py": BuildWithNotebooks})
