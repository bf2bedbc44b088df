"""What a type checker may know of the library: a `.pyi` beside every module, written from its source.

    python docs/tools/stubs.py FOLDER        # write them below FOLDER/valor_lab

Doors hand their names on when they are first asked for, classes grow by `@patch`, and heavy packages are imported late: a checker sees none of that in the
source. The stubs say it plainly. They are made when the wheel is built, so that they cannot be stale; `tests/test_types.py` checks them."""
import ast, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import reference

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {"str": "str", "int": "int", "float": "float", "bool": "bool", "bytes": "bytes"}

def said(node):
    "An annotation as a stub says it; a value that stands for a type (`None`, a string) stays what it is."
    return "" if node is None else ast.unparse(node)

def optional(annotation, default):
    "`who:str = None` means that None will do, too."
    if annotation and isinstance(default, ast.Constant) and default.value is None and "None" not in annotation and annotation not in ("object", "Any"): return f"{annotation} | None"
    return annotation

def arguments(node, first=None):
    "The arguments of a function between its parentheses; `first` replaces the annotated one of a patched method."
    a, out = node.args, []
    positional = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(positional) - len(a.defaults)) + list(a.defaults)
    for n, (x, d) in enumerate(zip(positional, defaults)):
        words = first if first is not None and n == 0 else x.arg + (f": {t}" if (t := optional(said(x.annotation), d)) else "") + (" = ..." if d is not None else "")
        out.append(words)
        if a.posonlyargs and n == len(a.posonlyargs) - 1: out.append("/")
    if a.vararg: out.append("*" + a.vararg.arg + (f": {said(a.vararg.annotation)}" if a.vararg.annotation else ""))
    elif a.kwonlyargs: out.append("*")
    for x, d in zip(a.kwonlyargs, a.kw_defaults): out.append(x.arg + (f": {t}" if (t := optional(said(x.annotation), d)) else "") + (" = ..." if d is not None else ""))
    if a.kwarg: out.append("**" + a.kwarg.arg + (f": {said(a.kwarg.annotation)}" if a.kwarg.annotation else ""))
    return ", ".join(out)

def function(node, indent="", first=None, as_property=False):
    marks = [ast.unparse(d) for d in node.decorator_list]
    lines = [f"{indent}@{d}" for d in marks if d in ("staticmethod", "classmethod", "property", "contextlib.contextmanager", "contextmanager") or d.endswith(".setter")]
    if as_property or any("cached_property" in d for d in marks): lines.append(f"{indent}@property")
    returns = f" -> {said(node.returns)}" if node.returns is not None else ""
    return [*lines, f"{indent}{'async ' if isinstance(node, ast.AsyncFunctionDef) else ''}def {node.name}({arguments(node, first)}){returns}: ..."]

def value_type(node):
    "The type of a constant where its source shows it."
    if isinstance(node, ast.Constant): return KNOWN.get(type(node.value).__name__, "Any")
    for kind, name in ((ast.Tuple, "tuple"), (ast.List, "list"), (ast.Dict, "dict"), (ast.Set, "set"), (ast.JoinedStr, "str"), (ast.ListComp, "list"), (ast.DictComp, "dict")):
        if isinstance(node, kind): return f"{name}[Any, ...]" if name == "tuple" else f"{name}[Any, Any]" if name == "dict" else name if name == "str" else f"{name}[Any]"
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("tuple", "frozenset", "dict", "set", "list"): return {"dict": "dict[Any, Any]", "tuple": "tuple[Any, ...]"}.get(n := ast.unparse(node.func), f"{n}[Any]")
    return "Any"

def late(node):
    "The module behind `torch = need(\"torch\", \"models\")` or `later(…)`, `nn = torch.nn`; None for anything else."
    v = node.value
    if isinstance(v, ast.Call) and ast.unparse(v.func) in ("need", "later") and isinstance(v.args[0], ast.Constant): return v.args[0].value
    return None

def klass(node, patched):
    head = f"class {node.name}({', '.join(map(ast.unparse, [*node.bases]))})" if node.bases else f"class {node.name}"
    out, names = [], set()
    for d in node.decorator_list:
        if "dataclass" in ast.unparse(d): out.append(f"@{ast.unparse(d)}")
    out.append(head + ":")
    for x in node.body:
        if isinstance(x, (ast.FunctionDef, ast.AsyncFunctionDef)): out += function(x, "    "); names.add(x.name)
        elif isinstance(x, ast.AnnAssign) and isinstance(x.target, ast.Name):
            out.append(f"    {x.target.id}: {optional(said(x.annotation), x.value)}" + (" = ..." if x.value is not None else "")); names.add(x.target.id)
        elif isinstance(x, ast.Assign) and isinstance(x.value, ast.Call) and ast.unparse(x.value.func) == "property":
            out += ["    @property", f"    def {x.targets[0].id}(self): ..."]; names.add(x.targets[0].id)
        elif isinstance(x, ast.Assign):
            for t in x.targets:
                for n in ([t] if isinstance(t, ast.Name) else getattr(t, "elts", [])):
                    if isinstance(n, ast.Name) and n.id not in names: out.append(f"    {n.id}: {'ClassVar[Any]' if head.startswith('class') and node.decorator_list else 'Any'}"); names.add(n.id)
    for name, f, kind in [p for p in patched if len(p) == 3]:             # Class.name = function, or a property of one
        if name in names: continue
        names.add(name)
        if f is None: out += ["    @property", f"    def {name}(self): ..."] if kind == "property" else [f"    {name}: ClassVar[Any]"]
        else: out += [f"    @{kind}"] * bool(kind) + [function(f, "    ", {"staticmethod": None, "classmethod": "cls"}.get(kind, "self"))[-1].replace(f"def {f.name}(", f"def {name}(")]
    for f, prop in [p for p in patched if len(p) == 2]: out += function(f, "    ", "cls" if any("classmethod" in ast.unparse(d) for d in f.decorator_list) else "self", prop); names.add(f.name)
    bare = any("dataclass" in ast.unparse(d) for d in node.decorator_list)
    for x in ast.walk(node) if not bare else ():                          # what a method gives to its object
        if isinstance(x, ast.Attribute) and isinstance(x.ctx, ast.Store) and ast.unparse(x.value) == "self" and x.attr not in names: out.append(f"    {x.attr}: Any"); names.add(x.attr)
    return out if len(out) > 1 + len([o for o in out if o.startswith("@")]) else [*out[:-1], out[-1] + " ..."]

def room(path):
    "The stub of one module."
    tree = ast.parse(path.read_text(encoding="utf-8"))
    out, patched, seen = ["from typing import Any, ClassVar"], {}, set()
    where = reference.Room(path, "", "")
    for x in tree.body:
        if isinstance(x, (ast.FunctionDef, ast.AsyncFunctionDef)) and (owner := where.owner(x)):
            patched.setdefault(owner, []).append((x, any("as_prop=True" in ast.unparse(d) for d in x.decorator_list)))
    defs = {x.name: x for x in tree.body if isinstance(x, (ast.FunctionDef, ast.AsyncFunctionDef))}
    for cls, name, v in reference.attached(tree):
        f, kind = defs.get(getattr(v, "id", "")), ""
        if isinstance(v, ast.Call) and getattr(v.func, "id", "") in ("property", "staticmethod", "classmethod") and v.args: f, kind = defs.get(getattr(v.args[0], "id", "")), v.func.id
        patched.setdefault(cls, []).append((name, f, kind))
    for x in tree.body:
        if isinstance(x, ast.ImportFrom) and x.level:                        # what a room takes from another, others may take from it
            out.append(f"from {'.' * x.level}{x.module or ''} import " + ", ".join(f"{a.name} as {a.asname or a.name}" for a in x.names))
        elif isinstance(x, (ast.Import, ast.ImportFrom)): out.append(ast.unparse(x))
        elif isinstance(x, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if not where.owner(x): out += function(x)
        elif isinstance(x, ast.ClassDef): out += klass(x, patched.get(x.name, ()))
        elif isinstance(x, (ast.Assign, ast.AnnAssign)):
            targets = x.targets if isinstance(x, ast.Assign) else [x.target]
            module = late(x) if x.value is not None else None
            for t in targets:
                for n in ([t] if isinstance(t, ast.Name) else getattr(t, "elts", [])):
                    if not isinstance(n, ast.Name) or n.id in seen or n.id == "__all__": continue
                    seen.add(n.id)
                    source = ast.unparse(x.value) if x.value is not None else ""
                    if module and isinstance(t, ast.Name): out.append(f"import {module} as {n.id}" if "." in module or module != n.id else f"import {module}")
                    elif source in ("torch.nn", "torch.nn.functional", "nn.functional"): out.append(f"import {'torch.nn.functional' if source.endswith('functional') else 'torch.nn'} as {n.id}")
                    elif isinstance(x, ast.AnnAssign): out.append(f"{n.id}: {said(x.annotation)}")
                    else: out.append(f"{n.id}: {value_type(x.value) if isinstance(t, ast.Name) else 'Any'}")
    return "\n".join([*out, ""])

def door(path):
    "The stub of a door: its names, from the rooms that define them."
    lines = ["from typing import Any"]
    for name, names in reference.door_of(path).items(): lines += [f"from .{name} import {n} as {n}" for n in names]
    return "\n".join([*lines, ""])

def write(folder, root=ROOT):
    "All stubs, below `folder/valor_lab`."
    library = root/"valor_lab"
    for path in sorted(library.rglob("*.py")):
        if path.name == "_modidx.py": continue
        to = Path(folder)/"valor_lab"/path.relative_to(library).with_suffix(".pyi")
        to.parent.mkdir(parents=True, exist_ok=True)
        if path == library/"__init__.py":
            inside = sorted([*reference.wings(root), *(p.stem for p in library.glob("*.py") if not p.stem.startswith("_"))])
            to.write_text("\n".join(["__version__: str", *(f"from . import {n} as {n}" for n in inside), ""]), encoding="utf-8")
        elif path.name == "__init__.py": to.write_text(door(path) if reference.door_of(path) else "", encoding="utf-8")
        else: to.write_text(room(path), encoding="utf-8")

if __name__ == "__main__": write(sys.argv[1])
