"""Mean average precision of detections, written for reading: one loop for each sentence of the definition."""
from fractions import Fraction


def overlap(a, b):
    "Temporal intersection over union of two (start, end)."
    shared = max(Fraction(0), min(Fraction(a[1]), Fraction(b[1])) - max(Fraction(a[0]), Fraction(b[0])))
    return shared/((Fraction(a[1]) - Fraction(a[0])) + (Fraction(b[1]) - Fraction(b[0])) - shared)


def verdicts(found, true, unsure, at):
    "(score, 'hit' | 'false' | 'ignored') of the detections of one action in one video; all arguments are lists of spans, `found` with a score first."
    free, out = sorted(true), []
    for score, start, end in sorted(found, key=lambda d: (-d[0], d[1], d[2])):
        best = None
        for t in free:
            if overlap((start, end), t) >= Fraction(at) - Fraction(1, 10**9) and (best is None or overlap((start, end), t) > overlap((start, end), best)): best = t
        if best is not None:
            free.remove(best)
            out.append((score, "hit"))
        elif any(min(end, u[1]) > max(start, u[0]) for u in unsure): out.append((score, "ignored"))
        else: out.append((score, "false"))
    return out


def average_precision(label, detections, spans, ambiguous, at):
    "Of one action over all videos; None if it never happens. Rows are (video, label, start, end[, score]), ambiguous ones (video, start, end)."
    total = sum(l == label for _, l, *_ in spans)
    if not total: return None
    said = []
    for v in sorted({d[0] for d in detections}):
        said += verdicts([(d[4], d[2], d[3]) for d in detections if d[:2] == (v, label)], [(s, e) for w, l, s, e in spans if (w, l) == (v, label)], [(s, e) for w, s, e in ambiguous if w == v], at)
    points, hits, counted = [], 0, 0
    for score in sorted({s for s, _ in said}, reverse=True):               # equal scores are found at once
        hits += sum(w == "hit" for s, w in said if s == score)
        counted += sum(w != "ignored" for s, w in said if s == score)
        points.append((Fraction(hits, total), Fraction(hits, counted) if counted else Fraction(0)))
    area, before = Fraction(0), Fraction(0)
    for i, (recall, _) in enumerate(points):
        area += (recall - before)*max(p for _, p in points[i:])
        before = recall
    return float(area)


def mean_average_precision(labels, detections, spans, ambiguous, at):
    "In percent, over the actions that happen."
    each = [ap for l in labels if (ap := average_precision(l, detections, spans, ambiguous, at)) is not None]
    return 100*sum(each)/len(each)
