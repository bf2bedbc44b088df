"""The house as a drawing, made from the imports of the library: wings on their floors, and a line for every wing that another one uses.

    python docs/tools/drawing.py > house.svg

The floors are those that tests/test_wings.py holds; the lines are counted in the source, so that the drawing cannot be wrong. Same source, same bytes."""
import ast, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, GAP, SIDE, MARGIN = 132, 52, 46, 26, 14
WORDS = dict(core="errors, files", files="saving, locks", vocab="words", grid="the axis of time", nodes="machines", engines="where work runs", labels="what is known", media="one pass over a file",
             models="networks", metrics="how right it is", harvest="from clips to labels", methods="losses, mended labels", plots="figures", demo="a rendered world", datasets="finding data",
             training="the loop, runs", tasks="neighbouring tasks", workbench="moved by hand", cli="the command")

def floors(root=ROOT):
    "The law of the house, read from its test."
    for node in ast.parse((root/"tests"/"test_wings.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "FLOORS": return ast.literal_eval(node.value)

def uses(root=ROOT):
    "`{(wing, wing it uses): imports}`; rooms on the ground floor count as wings of their own."
    library, out, names = root/"valor_lab", {}, {n for row in floors(root) for n in row}
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        if parts in (("__init__",), ("_modidx",)): continue
        package = ["valor_lab", *path.relative_to(library).parent.parts]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = []
            if isinstance(node, ast.ImportFrom):
                base = package[:len(package) - node.level + 1] if node.level else []
                module = [*base, *(node.module or "").split(".")] if node.module else base
                found = [[*module, a.name] for a in node.names]
            elif isinstance(node, ast.Import): found = [a.name.split(".") for a in node.names]
            for f in found:
                if len(f) > 1 and f[0] == "valor_lab" and f[1] in names and f[1] != parts[0]: out[parts[0], f[1]] = out.get((parts[0], f[1]), 0) + 1
    return out

def house(root=ROOT):
    "The drawing as SVG."
    rows, lines = floors(root), uses(root)
    widest = max(map(len, rows))
    total = widest * WIDTH + (widest - 1) * SIDE + 2 * MARGIN + 30
    tall = len(rows) * HEIGHT + (len(rows) - 1) * GAP + 2 * MARGIN
    at = {}
    for n, row in enumerate(rows):
        left = 30 + (total - 30 - len(row) * WIDTH - (len(row) - 1) * SIDE) / 2
        for k, name in enumerate(row): at[name] = (left + k * (WIDTH + SIDE), tall - MARGIN - HEIGHT - n * (HEIGHT + GAP))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total:.0f} {tall:.0f}" width="{total:.0f}" height="{tall:.0f}" role="img" font-family="sans-serif">',
           "<title>The wings of valor_lab on their floors; a line leads from each wing down to those that it uses</title>",
           "<style>.u{fill:none;stroke:#5b8db8;stroke-opacity:.42}.b{fill:#fff;stroke:#44546a}.n{font-size:15px;font-weight:600;fill:#1b1f24;text-anchor:middle}"
           ".w{font-size:11px;fill:#44546a;text-anchor:middle}.f{font-size:12px;fill:#7a8699;text-anchor:middle}</style>"]
    level = {name: n for n, row in enumerate(rows) for name in row}
    for (a, b), n in sorted(lines.items()):
        if a not in at or b not in at or not level[b]: continue                              # everything stands on the ground floor: no lines to it
        (xa, ya), (xb, yb) = at[a], at[b]
        xa, ya, xb = xa + WIDTH / 2, ya + HEIGHT, xb + WIDTH / 2
        out.append(f'<path class="u" stroke-width="{min(1 + n ** .5 / 2, 4):.1f}" d="M{xa:.0f} {ya:.0f}C{xa:.0f} {ya + 40:.0f} {xb:.0f} {yb - 40:.0f} {xb:.0f} {yb:.0f}"><title>{a} uses {b}: {n} names</title></path>')
    for n, row in enumerate(rows):
        out.append(f'<text class="f" x="12" y="{at[row[0]][1] + HEIGHT / 2 + 4:.0f}">{n + 1}</text>')
        for name in row:
            (x, y), words = at[name], WORDS.get(name, "")
            out.append(f'<rect class="b" x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="6"/><text class="n" x="{x + WIDTH / 2:.0f}" y="{y + 22:.0f}">{name}</text><text class="w" x="{x + WIDTH / 2:.0f}" y="{y + 39:.0f}">{words}</text>')
    return "\n".join([*out, "</svg>", ""])

if __name__ == "__main__": sys.stdout.write(house())
