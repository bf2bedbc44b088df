"""The AVVP metrics written straight from their definition: slow, plain, and the oracle of the property tests.

Per clip and event, true positives, false positives and false negatives are counted one by one. Event level: maximal runs are events; a predicted
event is a true positive if any true event of its kind has an intersection over union of at least one half (matching is not exclusive), else a
false positive; a true event is a false negative if no predicted event has one. F of an event in a clip is 2TP / (2TP + FP + FN); a clip's score is
the mean over the events with TP + FP > 0 or TP + FN > 0, and 1 if there is none; a dataset's score is the mean over clips, in percent."""


def segment_counts(p, t):
    "TP, FP, FN of one event in one clip, `p` and `t` lists of T bools."
    tp = sum(1 for a, b in zip(p, t) if a and b)
    return tp, sum(map(bool, p)) - tp, sum(map(bool, t)) - tp


def find_runs(x):
    "Maximal runs of True as sets of segment numbers."
    out, current = [], set()
    for i, v in enumerate(x):
        if v: current.add(i)
        elif current:
            out.append(current)
            current = set()
    return out + [current] if current else out


def iou(a, b): return len(a & b) / len(a | b)


def event_counts(p, t):
    "TP, FP, FN of the events of one kind in one clip; TP is counted on the side of the prediction."
    p, t = find_runs(p), find_runs(t)
    tp = sum(1 for r in p if any(iou(r, q) >= .5 for q in t))
    fn = sum(1 for q in t if not any(iou(r, q) >= .5 for r in p))
    return tp, len(p) - tp, fn


def f_of_clip(counts):
    "The mean F of one clip from the (TP, FP, FN) of its events."
    f = [2 * tp / (2 * tp + fp + fn) for tp, fp, fn in counts if tp + fp > 0 or tp + fn > 0]
    return sum(f) / len(f) if f else 1.


def avvp_reference(pred, truth):
    "The ten scores per clip: a list of dicts."
    n, t, c = truth.audio.shape
    clips = []
    for i in range(n):
        scores = {}
        for level, count in (("segment", segment_counts), ("event", event_counts)):
            counts = {}
            for m in ("audio", "visual", "audio_visual"):
                pm, tm = (x.audio & x.visual if m == "audio_visual" else getattr(x, m) for x in (pred, truth))
                counts[m] = [count(pm[i, :, j].tolist(), tm[i, :, j].tolist()) for j in range(c)]
                scores[f"{level}/{m}"] = 100 * f_of_clip(counts[m])
            scores[f"{level}/type"] = sum(scores[f"{level}/{m}"] for m in counts) / 3
            scores[f"{level}/event"] = 100 * f_of_clip([tuple(x + y for x, y in zip(a, v)) for a, v in zip(counts["audio"], counts["visual"])])
        clips.append(scores)
    return clips


def mean_over_clips(clips): return {k: sum(c[k] for c in clips) / len(clips) for k in clips[0]}


def pooled_f(triples):
    "F in percent over (claimed, true) pairs; 100 if none is claimed and none is true."
    tp = sum(1 for p, t in triples if p and t)
    fp = sum(1 for p, t in triples if p and not t)
    fn = sum(1 for p, t in triples if t and not p)
    return 100 * 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 100.


def fidelity_reference(pred, truth):
    both = lambda x: x.audio & x.visual
    arrays = dict(audio=(pred.audio, truth.audio), visual=(pred.visual, truth.visual), audio_visual=(both(pred), both(truth)))
    return {m: pooled_f(list(zip(p.ravel().tolist(), t.ravel().tolist()))) for m, (p, t) in arrays.items()}


def nonaligned_reference(pred, truth):
    "On triples true in exactly one modality, both modalities are judged: (claimed, true) for the one and for the other."
    pairs = dict(audible_only=[], visible_only=[])
    for pa, pv, ta, tv in zip(*(x.ravel().tolist() for x in (pred.audio, pred.visual, truth.audio, truth.visual))):
        if ta and not tv: pairs["audible_only"] += [(pa, True), (pv, False)]
        if tv and not ta: pairs["visible_only"] += [(pv, True), (pa, False)]
    pairs["all"] = pairs["audible_only"] + pairs["visible_only"]
    return {k: pooled_f(v) for k, v in pairs.items()}
