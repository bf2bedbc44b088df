"""Build the documentation site: put its source together, let Sphinx write it, and look at what came out.

    python docs/tools/build.py [--out site] [--keep]

The source is docs/*.md, the notebooks as they are committed, the reference from docs/tools/reference.py, the drawing of the house and the gallery. Nothing is
executed and nothing is fetched. It ends with 1 if Sphinx warned, if a link leads nowhere, or if a page would load something from elsewhere."""
import argparse, json, re, shutil, subprocess, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import drawing, gallery, links, reference

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "benchmarks/README.md", "data/README.md", "nbs/api/README.md")
NOISE = re.compile(r"^#\| ?(export|exports|exporti|default_exp.*|notest|eval:.*|hide.*)$\n?", re.M)

def shown(nb, path):
    "A notebook as a reader sees it: hidden cells and nbdev's directives left out; widgets by the picture that stands beside them."
    cells = []
    for cell in nb["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            if re.search(r"^#\| ?hide", source, re.M): continue
            source = NOISE.sub("", source).strip("\n")
            if not source: continue
            if all(re.match(r"(import |from .* import|%|#|\s|\)|$)", line) for line in source.splitlines()) and not cell["outputs"]: cell["metadata"] = dict(tags=["hide-input"])
            for o in cell["outputs"]:
                data = o.get("data", {})
                if len(data) > 1: data.pop("application/vnd.jupyter.widget-view+json", None)
            cell["outputs"] = [o for o in cell["outputs"] if o.get("name") != "stderr" and not (set(o.get("data", {})) and set(o["data"]) <= {"text/plain", "application/vnd.jupyter.widget-view+json"} and "application/vnd.jupyter.widget-view+json" in o["data"])]
        elif cell["cell_type"] == "markdown": source = out_of_house(source, path)
        cells.append(dict(cell, source=source, metadata={k: v for k, v in cell["metadata"].items() if k == "tags"}))
    return dict(nb, cells=cells)

def out_of_house(text, path):
    "Links to files that the site does not show, as plain words: a reader of the site has no such file."
    def mend(m):
        words, target = m[1], m[2]
        if re.match(r"[a-z]+:|#", target): return m[0]
        there = (path.parent/target.partition("#")[0]).resolve()
        if there.suffix in (".ipynb", ".md", ".png", ".svg", ".cff") and there.exists(): return m[0]
        return f"`{there.relative_to(ROOT)}`" if there.is_relative_to(ROOT) and there.exists() else m[0]
    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", mend, text)

def from_top(text):
    "docs/*.md lie one floor higher in the site than in the repository."
    return re.sub(r"\]\(\.\./", "](", text)

def gather(stage):
    "The source of the site, in one folder."
    for p in sorted((ROOT/"docs").glob("*.md")): (stage/p.name).write_text(from_top(out_of_house(p.read_text(encoding="utf-8"), p)), encoding="utf-8")
    shutil.copy(ROOT/"docs"/"commands.txt", stage), shutil.copy(ROOT/"docs"/"conf.py", stage), shutil.copytree(ROOT/"docs"/"_static", stage/"_static")
    for name in BESIDE:
        (stage/name).parent.mkdir(parents=True, exist_ok=True)
        text = out_of_house((ROOT/name).read_text(encoding="utf-8"), ROOT/name)
        (stage/name).write_text(re.sub(r"\]\((?:\.\./)*docs/", lambda m: "](" + "../" * name.count("/"), text), encoding="utf-8")
    shutil.copytree(ROOT/"nbs"/"images", stage/"nbs"/"images")
    for p in sorted((ROOT/"nbs").rglob("*.ipynb")):
        if ".ipynb_checkpoints" in p.parts: continue
        to = stage/p.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        nb = shown(json.loads(p.read_text(encoding="utf-8")), p)
        if p.name == "index.ipynb": nb["cells"].append(rooms_below(p))
        to.write_text(json.dumps(nb, ensure_ascii=False), encoding="utf-8")
    (stage/"nbs"/"README.md").write_text(notebooks_page(), encoding="utf-8")
    (stage/"_static"/"house.svg").write_text(drawing.house(ROOT), encoding="utf-8")
    (stage/"gallery.md").write_text(gallery.page(ROOT, stage), encoding="utf-8")
    for name, text in reference.pages(ROOT).items():
        (stage/"reference").mkdir(exist_ok=True)
        (stage/"reference"/name).write_text(text, encoding="utf-8")

def rooms_below(path):
    "A door's table of contents, for the site's navigation."
    rooms = [p.relative_to(path.parent).with_suffix("") for p in sorted(path.parent.rglob("[0-9]*.ipynb")) if ".ipynb_checkpoints" not in p.parts]
    return dict(cell_type="markdown", id="rooms", metadata={}, source="\n".join(["```{toctree}", ":hidden:", "", *map(str, rooms), "```"]))

def title(path):
    head = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]).splitlines()
    return head[0].lstrip("# "), next((x.lstrip("> ") for x in head if x.startswith(">")), "")

def notebooks_page():
    "Every notebook with its title and its one line, in the order of the house."
    top = sorted((ROOT/"nbs").glob("*.ipynb"))
    lines = ["# Notebooks", "", "Those that people run, then the library: each notebook there is the source of the module of its name, to be read like an article. [Where to begin](api/README.md).", "", "## To run", ""]
    entry = lambda p: "- [{}]({}): {}".format(title(p)[0], p.relative_to(ROOT/"nbs"), title(p)[1]).replace("[]", f"[{p.stem}]")
    lines += map(entry, top)
    groups = [("On the ground floor", sorted((ROOT/"nbs"/"api").glob("[0-9]*.ipynb")))]
    for folder in sorted({p.parent for p in (ROOT/"nbs"/"api").rglob("*.ipynb") if p.parent != ROOT/"nbs"/"api" and ".ipynb_checkpoints" not in p.parts}):
        groups.append((f"valor_lab.{folder.relative_to(ROOT/'nbs'/'api')}".replace("/", "."), sorted(folder.glob("index.ipynb")) + sorted(folder.glob("[0-9]*.ipynb"))))
    for name, paths in groups: lines += ["", f"## {name}", "", *map(entry, paths)]
    first = [p for n, (_, ps) in enumerate(groups) for p in (ps[:1] if n and ps[0].stem == "index" else () if n else ps)]
    lines += ["", "```{toctree}", ":hidden:", "", "api/README"] + [str(p.relative_to(ROOT/"nbs").with_suffix("")) for p in top + first] + ["```", ""]
    return "\n".join(lines)

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT/"site", help="where the site goes; it is made anew")
    parser.add_argument("--keep", type=Path, help="leave the source of the site in this folder")
    a = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as d:
        stage = Path(d)/"source"
        stage.mkdir()
        gather(stage)
        if a.keep: shutil.copytree(stage, a.keep, dirs_exist_ok=True)
        if a.out.exists() and not (a.out/"index.html").exists() and any(a.out.iterdir()): sys.exit(f"{a.out} holds something else than a site; choose another --out")
        shutil.rmtree(a.out, ignore_errors=True)
        done = subprocess.run([sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", "-j", "2", "-d", str(Path(d)/"doctrees"), str(stage), str(a.out)])
    (a.out/"_static"/"webpack-macros.html").unlink(missing_ok=True)                           # the theme's own template, no page
    faults = list(links.faults(a.out)) if (a.out/"index.html").exists() else ["Sphinx wrote no front page"]
    for f in faults[:40]: print(f"FAULT {f}")
    pages, size = len(list(a.out.rglob("*.html"))), sum(p.stat().st_size for p in a.out.rglob("*") if p.is_file())
    print(f"{pages} pages, {size/1e6:.1f} MB, {time.monotonic() - began:.0f} s: {'no' if not done.returncode else 'with'} warnings, {len(faults)} faults in links; open {a.out/'index.html'}")
    sys.exit(bool(done.returncode or faults))

if __name__ == "__main__": main()
