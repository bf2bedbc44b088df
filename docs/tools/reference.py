"""The public names of every wing, from the source: docstring, signature, the comment beside each parameter, and where it is written.

    python docs/tools/reference.py        # what is missing: names without a docstring, parameters without a word, arrays without a shape

Nothing is imported: doors, rooms and comments are read as text, so that the reference needs none of the packages that the library needs."""
import ast, io, json, re, sys, tokenize
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GROUND = tuple(sorted(p.stem for p in (ROOT/"valor_lab").glob("*.py") if not p.stem.startswith("_")))   # rooms without a wing: what they list in __all__ is public
ARRAY = re.compile(r"ndarray|Tensor|ArrayLike|\barrays?\b", re.I)
SHAPE = re.compile(r"\[[^\]]*\]|\bscalar\b|any shape|\bshape\b")

@dataclass
class Parameter:
    name: str
    annotation: str = ""
    default: str | None = None
    comment: str = ""

@dataclass
class Entry:
    name: str
    wing: str                   # "" for the rooms on the ground floor
    room: str
    kind: str                   # function, class, constant or method
    doc: str = ""
    parameters: list = field(default_factory=list)
    returns: Parameter | None = None
    bases: str = ""
    value: str = ""
    line: int = 0
    file: Path | None = None
    note: str = ""              # the comment at the end of a signature of one line: shapes of what goes in and comes out
    members: list = field(default_factory=list)
    @property
    def path(self): return ".".join(x for x in ("valor_lab", self.wing, self.name) if x) if self.wing else f"valor_lab.{self.room}.{self.name}"

def comments_of(source):
    "The comment at the end of each line, and the lines that are nothing but a comment: `{line: text}`, `{line: text}`."
    beside, alone = {}, {}
    for t in tokenize.generate_tokens(io.StringIO(source).readline):
        if t.type != tokenize.COMMENT: continue
        text = t.string.lstrip("#").strip()
        (alone if t.line.strip().startswith("#") else beside)[t.start[0]] = text
    return beside, alone

def attached(tree):
    "`(class, name, value)` of `Class.name = value` at the top of a file, also several in one line: how classes grow without `@patch`."
    for x in tree.body:
        if not isinstance(x, ast.Assign): continue
        for t in x.targets:
            pairs = zip(t.elts, x.value.elts) if isinstance(t, ast.Tuple) and isinstance(x.value, ast.Tuple) and len(t.elts) == len(x.value.elts) else [(t, x.value)]
            for a, v in pairs:
                if isinstance(a, ast.Attribute) and isinstance(a.value, ast.Name): yield a.value.id, a.attr, v

class Room:
    "One file of the library: its public definitions, with what `@patch` adds to them."
    def __init__(self, path, wing, room):
        self.path, self.wing, self.room, self.source = path, wing, room, path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.source)
        self.beside, self.alone = comments_of(self.source)
        self.lines = self.source.splitlines()
    def text(self, node): return "" if node is None else ast.unparse(node)
    def parameters(self, node, skip_first=False):
        a = node.args
        positional = [*a.posonlyargs, *a.args]
        defaults = [None] * (len(positional) - len(a.defaults)) + list(a.defaults)
        listed = [(x, x.arg, d) for x, d in zip(positional, defaults)]
        if a.vararg: listed.append((a.vararg, "*" + a.vararg.arg, None))
        listed += [(x, x.arg, d) for x, d in zip(a.kwonlyargs, a.kw_defaults)]
        if a.kwarg: listed.append((a.kwarg, "**" + a.kwarg.arg, None))
        last = {}
        for x, name, d in listed: last[(d or x).end_lineno if d is not None else x.end_lineno] = name     # a comment belongs to the last parameter of its line
        multi = len({x.lineno for x, *_ in listed}) > 1 or (listed and listed[0][0].lineno != node.lineno)
        out = []
        for x, name, d in listed:
            line = d.end_lineno if d is not None else x.end_lineno
            alone = multi and last[line] == name
            out.append(Parameter(name, self.text(x.annotation), None if d is None else self.text(d), self.beside.get(line, "") if alone else ""))
        return out[1:] if skip_first and out else out
    def function(self, node, kind="function", name=None, skip_first=False):
        doc = ast.get_docstring(node) or ""
        head = max([node.lineno, *(x.end_lineno for x in ast.walk(node.args) if hasattr(x, "end_lineno")), node.returns.end_lineno if node.returns else 0])
        note = self.beside.get(head, "") if head == node.lineno and node.body[0].lineno > head else ""
        returns = None
        if node.returns is not None:
            returns = Parameter("", self.text(node.returns), None, self.beside.get(node.returns.end_lineno, "") if node.returns.end_lineno != node.lineno else "")
        return Entry(name or node.name, self.wing, self.room, kind, doc, [typer_words(p) for p in self.parameters(node, skip_first)], returns, line=node.lineno, file=self.path, note=note)
    def owner(self, node):
        "The class that `@patch` or `@patch_to(Class)` gives this function to."
        for d in node.decorator_list:
            t = self.text(d)
            if t.startswith("patch_to("): return t[9:-1].split(",")[0]
            if t.startswith("patch"):
                first = (node.args.posonlyargs + node.args.args)[0]
                return self.text(first.annotation)
    def klass(self, node):
        e = Entry(node.name, self.wing, self.room, "class", ast.get_docstring(node) or "", bases=", ".join(map(self.text, node.bases)), line=node.lineno, file=self.path)
        init = None
        for x in node.body:
            if isinstance(x, ast.AnnAssign) and isinstance(x.target, ast.Name) and not x.target.id.startswith("_"):
                e.parameters.append(Parameter(x.target.id, self.text(x.annotation), None if x.value is None else self.text(x.value), self.beside.get(x.end_lineno, "")))
            if isinstance(x, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if x.name == "__init__": init = x
                elif not x.name.startswith("_") or x.name in ("__call__", "__getitem__"): e.members.append(self.function(x, "method", skip_first=not any(self.text(d) == "staticmethod" for d in x.decorator_list)))
        if init is not None:
            e.parameters = self.parameters(init, True)
            if not e.doc: e.doc = ast.get_docstring(init) or ""
        return e
    def constant(self, name, node):
        end, start = node.end_lineno, node.lineno
        doc = self.beside.get(end, "") or self.beside.get(start, "")
        if not doc:                                                        # the comment above it
            above = []
            line = start - 1
            while line in self.alone and not self.alone[line].startswith(("%%", "AUTOGENERATED")): above.insert(0, self.alone[line]); line -= 1
            doc = " ".join(above)
        after = [x for x in self.tree.body if x.lineno > end][:1]
        if not doc and after and isinstance(after[0], ast.Expr) and isinstance(after[0].value, ast.Constant) and isinstance(after[0].value.value, str): doc = after[0].value.value
        value = self.text(node.value)
        return Entry(name, self.wing, self.room, "constant", doc, value=value, line=start, file=self.path)
    @cached_property
    def defines(self):
        out = {}
        for x in self.tree.body:
            if isinstance(x, (ast.FunctionDef, ast.AsyncFunctionDef)):
                cls = self.owner(x)
                if cls and cls in out: out[cls].members.append(self.function(x, "method", skip_first=True))
                elif not cls: out[x.name] = self.function(x)
            elif isinstance(x, ast.ClassDef): out[x.name] = self.klass(x)
            elif isinstance(x, ast.Assign):
                for t in x.targets:
                    for n in ([t] if isinstance(t, ast.Name) else getattr(t, "elts", [])):
                        if isinstance(n, ast.Name): out.setdefault(n.id, self.constant(n.id, x))
            elif isinstance(x, ast.AnnAssign) and isinstance(x.target, ast.Name) and x.value is not None: out[x.target.id] = self.constant(x.target.id, x)
        defs = {x.name: x for x in self.tree.body if isinstance(x, (ast.FunctionDef, ast.AsyncFunctionDef))}
        for cls, name, v in attached(self.tree):
            if cls not in out or name.startswith("_"): continue
            if isinstance(v, ast.Call) and getattr(v.func, "id", "") in ("property", "staticmethod", "classmethod") and v.args:
                doc = next((k.value.value for k in v.keywords if k.arg == "doc" and isinstance(k.value, ast.Constant)), "")
                f = defs.get(getattr(v.args[0], "id", ""))
                if f is not None:
                    m = self.function(f, "property" if v.func.id == "property" else "method", name, skip_first=v.func.id != "staticmethod")
                    m.doc = m.doc or doc
                    out[cls].members.append(m)
                elif v.func.id == "property": out[cls].members.append(Entry(name, self.wing, self.room, "property", doc, line=v.lineno, file=self.path))
            elif isinstance(v, ast.Name) and v.id in defs: out[cls].members.append(self.function(defs[v.id], "method", name, skip_first=True))
        return out

def door_of(path):
    "`{room: [names]}` that a door hands on, read from its call of lazy_loader."
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            for k in node.keywords:
                if k.arg == "submod_attrs":
                    rooms = {}
                    for part in k.value.keywords:
                        if part.arg is not None: rooms[part.arg] = ast.literal_eval(part.value)
                        elif isinstance(part.value, ast.Dict): rooms |= ast.literal_eval(part.value)
                    return rooms
    return {}

def wings(root=ROOT): return sorted(p.parent.name for p in (root/"valor_lab").glob("*/__init__.py") if door_of(p))

def door_line(path): return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""

def public_names(root=ROOT):
    "`{wing: {room: [names]}}` of every door, and of the rooms on the ground floor under their own name."
    out = {}
    for room in GROUND:
        tree = ast.parse((root/"valor_lab"/f"{room}.py").read_text(encoding="utf-8"))
        for x in tree.body:
            if isinstance(x, ast.Assign) and getattr(x.targets[0], "id", "") == "__all__": out[room] = {room: ast.literal_eval(x.value)}
    for wing in wings(root): out[wing] = door_of(root/"valor_lab"/wing/"__init__.py")
    return out

@cache
def room_at(path, wing, room): return Room(path, wing, room)

def defined(path, name, wing, room, root):
    "The entry of `name`, in the room that lists it or in the one that this takes it from."
    there = room_at(path, "" if wing in GROUND else wing, room)
    if name in there.defines: return there.defines[name]
    for x in there.tree.body:
        if isinstance(x, ast.ImportFrom) and x.level and any(a.name == name for a in x.names):
            folder = path.parents[x.level - 1]
            other = (folder/(x.module or "").replace(".", "/")).with_suffix(".py")
            if other.is_file(): return defined(other, name, wing, other.stem, root)
            rooms = door_of(folder/x.module/"__init__.py")
            return defined(folder/x.module/f"{next(r for r, n in rooms.items() if name in n)}.py", name, wing, room, root)
    raise LookupError(f"{wing} hands on {name}, which {path.relative_to(root)} neither defines nor imports")

def reference(root=ROOT):
    "`{wing: [Entry]}` for every public name; a name that its room does not define is an error. A method without words has those of the class above."
    out = {}
    for wing, rooms in public_names(root).items():
        out[wing] = []
        for room, names in rooms.items():
            ground = wing in GROUND
            path = root/"valor_lab"/f"{room}.py" if ground else root/"valor_lab"/wing/f"{room.replace('.', '/')}.py"
            for n in names:
                if not n.startswith("_"): out[wing].append(defined(path, n, wing, room, root))
    every = [e for entries in out.values() for e in entries if e.kind == "class"]
    classes = {e.name: e for e in every} | {(e.wing, e.name): e for e in every}
    def above(e, name, depth=0):
        for b in re.findall(r"\w+", e.bases) if depth < 9 else ():
            base = classes.get((e.wing, b), classes.get(b)) or room_at(e.file, e.wing, e.room).defines.get(b)
            if base is None or base is e or base.kind != "class": continue
            for m in base.members:
                if m.name == name and m.doc: return m.doc
            if doc := above(base, name, depth + 1): return doc
        return ""
    for e in every:
        for m in e.members: m.doc = m.doc or above(e, m.name)
    return out

def plain(text):
    "Words from the source as MyST: what stands between backticks is left, every other sign means itself."
    return "".join(part if n % 2 else re.sub(r"([\\*_<>$|\[\]{}])", r"\\\1", part) for n, part in enumerate(re.split(r"(`[^`]*`)", text)))

def signature(e):
    one = lambda p: p.name + (f": {p.annotation}" if p.annotation else "") + (f" = {p.default}" if p.annotation and p.default is not None else f"={p.default}" if p.default is not None else "")
    return f"({', '.join(map(one, e.parameters))})" + (f" -> {e.returns.annotation}" if e.returns and e.returns.annotation not in ("", "None") else "")

def typer_words(p):
    "A parameter of a command: its type, and what `--help` says of it."
    try: node = ast.parse(p.annotation, mode="eval").body
    except SyntaxError: return p
    if not (isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "Annotated"): return p
    said = next((k.value for call in node.slice.elts[1:] if isinstance(call, ast.Call) for k in call.keywords if k.arg == "help"), None)
    words = said.value if isinstance(said, ast.Constant) else "".join(v.value if isinstance(v, ast.Constant) else "…" for v in said.values) if isinstance(said, ast.JoinedStr) else ""
    return Parameter(p.name, ast.unparse(node.slice.elts[0]), p.default, p.comment or words)

def shortened(text, most=160): return text if len(text) <= most else text[:most - 1].rstrip() + "…"

def described(e, path, fence="::::"):
    "One name as a directive of Sphinx's Python domain."
    kind = {"constant": "data"}.get(e.kind, e.kind)
    head = path if e.kind in ("constant", "property") or e.kind == "class" and not e.parameters else path + signature(e).replace("\n", " ")
    out = [f"{fence}{{py:{kind}}} {head}"]
    if e.kind == "constant": out += [f":value: {json.dumps(shortened(' '.join(e.value.split())), ensure_ascii=False)}"]
    out += ["", plain(e.doc.strip()), ""]
    told = [p for p in e.parameters if p.comment]
    out += [f":param {p.name.replace('*', '')}: {plain(p.comment)}" for p in told]
    if e.note: out += [f":shapes: {plain(e.note)}"]
    if e.returns and e.returns.comment: out += [f":returns: {plain(e.returns.comment)}"]
    out += [""]
    for m in e.members: out += described(m, f"{path}.{m.name}", fence[:-1]) if m.doc else []
    return [*out, fence, ""]

def notebook_of(e, root):
    "The notebook that an entry is written in, from the top of the site."
    inside = e.file.relative_to(root/"valor_lab")
    return next((p.relative_to(root) for p in sorted((root/"nbs"/"api"/inside.parent).glob(f"[0-9]*_{inside.stem}.ipynb"))), None)

def pages(root=ROOT):
    "`{file name: text}`: a page for each wing and for each room on the ground floor, and an index with every name."
    ref, out = reference(root), {}
    index = ["# Reference", "", "Every public name, from its docstring and the comments beside its parameters. N clips, T segments, C events, D feature size; axes are always in that order. "
             "`audio` and `visual` are spelled out in that order. Errors are `ParameterError` unless something else is said: what was found, what was expected, what to do.", ""]
    for wing in [w for w in ref if w not in GROUND] + [w for w in GROUND if w in ref]:
        entries = ref[wing]
        ground = wing in GROUND
        path = root/"valor_lab"/f"{wing}.py" if ground else root/"valor_lab"/wing/"__init__.py"
        lines = [f"# valor_lab.{wing}", "", plain(door_line(path).strip().splitlines()[0] if door_line(path) else ""), ""]
        door = f"nbs/api/{wing}/index.ipynb"
        if not ground: lines += [f"[What one does here]({'../' + door}), with a worked example.", ""]
        rooms = {}
        for e in entries: rooms.setdefault(e.room, []).append(e)
        for room, there in rooms.items():
            nb = notebook_of(there[0], root)
            if not ground: lines += [f"## {room}", ""]
            if nb is not None: lines += [f"Source: [{nb}](../{nb})", ""]
            for e in there: lines += described(e, e.path)
        out[f"{wing}.md"] = "\n".join(lines)
        index += [f"## valor_lab.{wing}", "", f"[{plain(door_line(path).strip().splitlines()[0]) if door_line(path) else wing}]({wing}.md)", "", ":::{container} names", ""]
        for e in entries: index += [f"{{py:obj}}`{e.name} <{e.path}>`", ""]
        index += [":::", ""]
    index += ["```{toctree}", ":hidden:", ""] + [f"{n[:-3]}" for n in out] + ["```", ""]
    return out | {"index.md": "\n".join(index)}

def is_array(p): return bool(re.search(r"ndarray|Tensor|ArrayLike", p.annotation)) or bool(re.match(r"(float|bool|int|uint8|complex)?\d* ?arrays?\b", p.comment, re.I))

def gaps(ref):
    "What a reader would miss: `(name, what)`."
    for entries in ref.values():
        for e in entries:
            if not e.doc.strip(): yield e.path, f"{e.kind} without a docstring"
            for m in e.members:
                if not m.doc.strip() and m.name not in ("forward", "__call__", "__getitem__"): yield f"{e.path}.{m.name}", "method without a docstring"
            for f in [e, *e.members]:
                where = e.path + (f".{f.name}" if f is not e else "")
                for p in [*f.parameters, *([f.returns] if f.returns else [])]:
                    if is_array(p) and not any(map(SHAPE.search, (p.comment, f.doc, f.note))): yield where, f"array {p.name or 'returned'} without a shape"

if __name__ == "__main__":
    ref = reference()
    found = list(gaps(ref))
    for where, what in found: print(f"{where}: {what}")
    print(f"{sum(map(len, ref.values()))} names in {len(ref)} wings and rooms, {len(found)} gaps")
    sys.exit(bool(found))
