"""How long the package takes to import, each time in a new process.

    python benchmarks/imports.py"""
import statistics, subprocess, sys, time

def seconds(code, n=7):
    times = []
    for _ in range(n + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])

bare = seconds("pass")
rows = {"import valor_lab": seconds("import valor_lab") - bare, "valor_lab.vocab": seconds("import valor_lab; valor_lab.vocab") - bare,
        "valor_lab.labels": seconds("import valor_lab; valor_lab.labels") - bare, "pandas alone": seconds("import pandas") - bare, "valor_lab.metrics": seconds("import valor_lab; valor_lab.metrics") - bare}
for name, s in rows.items(): print(f"{name:<20} {s * 1000:7.0f} ms over a bare interpreter")
print(f"{'labels / pandas':<20} {rows['valor_lab.labels'] / rows['pandas alone']:7.2f}")
