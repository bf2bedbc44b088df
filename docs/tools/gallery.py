"""The gallery: every figure that `valor_lab.plots` draws, with the lines that drew it, both taken from the notebooks as they were committed.

    python docs/tools/gallery.py      # figures that no notebook shows"""
import ast, base64, json, re, sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import reference

ROOT = Path(__file__).resolve().parents[2]
OTHERS = {"tasks": ("video_figure", "error_bars")}                  # figures that a neighbouring task draws for itself

def drawing_names(root=ROOT):
    "Functions of the wing that return a figure or draw into one, as the reference knows them."
    known = reference.reference(root)
    own = [e for e in known["plots"] if e.kind == "function" and e.returns is not None and re.search(r"Figure|Axes", e.returns.annotation)]
    return own + [e for wing, names in OTHERS.items() for e in known[wing] if e.name in names and e.name in examples(root)]

@cache
def examples(root=ROOT):
    "`{name: (notebook, source, picture)}`: the shortest cell with a picture whose code calls the function; cells of the wing's own notebooks first."
    out = {}
    paths = sorted((root/"nbs").rglob("*.ipynb"), key=lambda p: ("plots" not in p.parts, str(p)))
    for path in paths:
        if ".ipynb_checkpoints" in path.parts: continue
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] != "code" or source.startswith("#| export"): continue
            pictures = [o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})]
            if not pictures: continue
            source = re.sub(r"^#\|.*\n", "", source, flags=re.M)
            for called in set(re.findall(r"\b(\w+)\(", source)):
                here = (path, source, "".join(pictures[-1]))
                own = "plots" in path.parts
                if called not in out or (own == ("plots" in out[called][0].parts) and len(source) < len(out[called][1])): out[called] = here
    return out

def to_copy(source, name):
    "The lines that draw: what the notebook asserts of the figure, errors that it shows, and names that nothing else uses, are left out."
    lines, body = source.splitlines(), ast.parse(source).body
    kept = [s for s in body if not isinstance(s, (ast.Assert, ast.Try))]
    loads = lambda s: {n.id for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    while True:
        idle = [s for s in kept if isinstance(s, ast.Assign) and name not in loads(s) and all(isinstance(n, (ast.Name, ast.Tuple)) for n in s.targets)
                and not {n.id for t in s.targets for n in ast.walk(t) if isinstance(n, ast.Name)} & set().union(*(loads(o) for o in kept if o is not s))]
        if not idle: break
        kept = [s for s in kept if s not in idle]
    away = {n for s in body if s not in kept for n in range(s.lineno, s.end_lineno + 1)} - {n for s in kept for n in range(s.lineno, s.end_lineno + 1)}
    short = "\n".join(line for n, line in enumerate(lines, 1) if n not in away)
    return short if f"{name}(" in short else source

def page(root, stage):
    "The gallery as a page; its pictures are written beside it."
    there, folder = examples(root), stage/"gallery"
    folder.mkdir(exist_ok=True)
    lines = ["# Gallery", "", "Each figure with the lines that drew it, from the notebook that is named below it, where what they use is made. Every figure comes in light and dark, in colours that colour-blind readers tell apart, and is saved for a paper with `save_figure(fig, \"name.pdf\")`.", ""]
    for e in drawing_names(root):
        if e.name not in there: continue
        path, source, picture = there[e.name]
        (folder/f"{e.name}.png").write_bytes(base64.b64decode(picture))
        lines += [f"## {e.name}", "", e.doc.strip().splitlines()[0], "", f"![{e.name}](gallery/{e.name}.png)", "", "```python", to_copy(source, e.name).strip(), "```", "",
                  f"From [{path.stem}]({path.relative_to(root)}); parameters in the [reference](reference/{e.wing}.md).", ""]
    return "\n".join(lines)

if __name__ == "__main__":
    there = examples()
    missing = [e.name for e in drawing_names() if e.name not in there]
    print(f"{len(drawing_names())} functions draw; no notebook shows: {', '.join(missing) or 'none'}")
