"""One's own clips: from a folder and a spreadsheet to a data set, harvested, trained and parsed by commands alone."""
import json, os, re, shutil, unicodedata
from pathlib import Path

import numpy as np, pandas as pd, pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from valor_lab.core import ParameterError
from valor_lab.datasets import (clip_files, describe_set, export_labels, fit_events, event_rows, import_labels, inventory, is_described, known, load_dataset,
                                load_labels, made_captions, new_dataset, read_description, read_sheet, read_split, FORMATS)
from valor_lab.labels import SegmentLabels
from valor_lab.vocab import LLP, Vocab

TOML = 'segment_seconds = 1.0\nwindow = 10.0\nmedia = "videos"\n[events.Dog]\n[splits]\ntrain = "weak.csv"\n'


def sound(path, seconds=3., rate=8000):
    import wave
    with wave.open(str(path), "wb") as w: w.setnchannels(1), w.setsampwidth(2), w.setframerate(rate), w.writeframes(bytes(round(seconds*rate)*2))


@pytest.fixture
def home(tmp_path, monkeypatch):
    "An empty workspace, with a folder of three sounds beside it."
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path/"ws"))
    (tmp_path/"ws/data").mkdir(parents=True), (tmp_path/"clips").mkdir()
    for n, s in (("Küche 1", 3), ("kitchen_camera_001", 4), ("kitchen_camera_002", 12)): sound(tmp_path/f"clips/{n}.wav", s)
    return tmp_path


def table(home, text, coding="utf-8", name="weak.csv"):
    (home/name).write_bytes(text.encode(coding))
    return home/name


def weak_of(home, name="kitchen"):
    weak, _ = read_split(name, "train")
    return {c: set(weak.events(c)) for c in weak.ids}


# the file

@pytest.mark.parametrize("change,why", [
    (lambda t: t.replace("window", "windows"), "windows"), (lambda t: "n_segments = 10\n" + t, "n_segments"), (lambda t: t.replace("1.0", "-1"), "segment_seconds"),
    (lambda t: t.replace("1.0", "true"), "segment_seconds"), (lambda t: t.replace("10.0", "nan"), "window"), (lambda t: t.replace("10.0", "10.5"), "10.5"),
    (lambda t: t.replace("[events.Dog]", "[events]"), "no events"), (lambda t: t.replace('"weak.csv"', '"../../secret.csv"'), "leads out"),
    (lambda t: t.replace('"weak.csv"', '"/etc/passwd"'), "leads out"), (lambda t: t.replace('"videos"', '"/etc"'), "media_folders"),
    (lambda t: t.replace("[events.Dog]", "[events.Dog]\nclap = 3"), "clap"), (lambda t: t.replace("[events.Dog]", "[events.Dog]\ncolour = 'red'"), "colour"),
    (lambda t: t.replace("[events.Dog]", "[events.Dog]\nthresholds = { clip = 'high' }"), "clip"), (lambda t: t.replace("train =", "dev ="), "dev"),
    (lambda t: t + "[truth]\nval = 'x.csv'\n", "val"), (lambda t: t + "[features]\naudio = 'store'\n", "visual"), (lambda t: t + "[features]\naudio = 'shop'\nvisual = 'store'\n", "shop"),
    (lambda t: "n = [\n" + t, "dataset.toml"), (lambda t: t.replace("[events.Dog]", '[events."a\\tb"]'), "line end")])
def test_a_file_that_says_something_wrong_is_refused_with_its_name_and_what_was_found(home, change, why):
    folder = home/"ws/data/kitchen"
    folder.mkdir()
    (folder/"dataset.toml").write_text(change(TOML))
    with pytest.raises(ParameterError, match="dataset.toml") as e: describe_set("kitchen")
    assert why in str(e.value)


def test_both_segment_seconds_and_n_segments_is_an_error_that_says_both(home):
    folder = home/"ws/data/kitchen"
    folder.mkdir()
    (folder/"dataset.toml").write_text("n_segments = 10\n" + TOML)
    with pytest.raises(ParameterError, match="segment_seconds and n_segments"): load_dataset("kitchen")


@pytest.mark.parametrize("name", ["llp", "demo", "ave", "thumos14"])
def test_two_sets_of_one_name_are_an_error_that_names_the_file(home, name):
    (home/"ws/data"/name).mkdir()
    (home/"ws/data"/name/"dataset.toml").write_text(TOML)
    with pytest.raises(ParameterError, match="two data sets.*dataset.toml"): known(name)


EVENTS = ['Say "hi"', "A/B", "v1.2", "Türklingel", "Knock, loud", "a;b|c", "= 1+1", "O'Neil", "日本", "back\\slash", "#x", "[brackets]"]


def test_events_may_hold_quotes_dots_slashes_and_any_letter(home):
    rows = "file\tlabel\n" + "".join(f"Küche 1\t{e}\n" for e in EVENTS if '"' not in e) + 'Küche 1\t"Say ""hi"""\n'
    given_ = [json.dumps(e, ensure_ascii=False).replace('\\"', '""').replace("\\\\", "\\") for e in EVENTS]
    begun = new_dataset("kitchen", home/"clips", table(home, rows), given_)
    assert begun.events == tuple(EVENTS) and not begun.rows
    assert weak_of(home)["Küche 1_0_10"] == set(EVENTS) and describe_set("kitchen").vocab.events == tuple(EVENTS)
    for e in EVENTS: assert all(len(c) > len(e) for c in made_captions(e))


@pytest.mark.parametrize("asked", [dict(window=0.), dict(window=float("nan")), dict(window=-3.), dict(window=1e9), dict(segment_seconds=float("nan")), dict(segment_seconds=0), dict(n_segments=0),
                                   dict(n_segments=5, segment_seconds=2.), dict(n_segments=5, window=10.), dict(segment_seconds=3., window=10.)])
def test_lengths_that_no_data_set_has_are_refused_and_nothing_is_written(home, asked):
    with pytest.raises(ParameterError, match="expected|say one of them|cannot be cut"): new_dataset("kitchen", home/"clips", events=["Dog"], **asked)
    assert list((home/"ws/data").iterdir()) == []


@pytest.mark.parametrize("event", ["x"*100_000, "a\x7fb"])
def test_an_event_that_no_list_can_hold_leaves_no_half_of_a_data_set(home, event):
    with pytest.raises(ParameterError, match="1 to 200 letters"): new_dataset("kitchen", home/"clips", table(home, f"filename,labels\nkitchen_camera_001,{event}\n"))
    with pytest.raises(ParameterError, match="1 to 200 letters"): new_dataset("kitchen", home/"clips", events=[event])
    assert list((home/"ws/data").iterdir()) == []


def test_new_refuses_to_write_over_what_is_there_and_over_a_known_name(home):
    new_dataset("kitchen", home/"clips", None, "Dog")
    before = (home/"ws/data/kitchen/dataset.toml").read_bytes()
    with pytest.raises(ParameterError, match="--force"): new_dataset("kitchen", home/"clips", None, "Cat")
    assert (home/"ws/data/kitchen/dataset.toml").read_bytes() == before
    new_dataset("kitchen", home/"clips", None, "Cat", force=True)
    assert describe_set("kitchen").vocab.events == ("Cat",)
    with pytest.raises(ParameterError, match="already the name"): new_dataset("llp", home/"clips", None, "Cat", force=True)


def test_media_outside_are_used_only_if_valor_toml_names_them(home):
    new_dataset("kitchen", home/"clips", None, "Dog")
    assert str(home/"clips") in (home/"ws/valor.toml").read_text() and len(clip_files(describe_set("kitchen"), ["Küche 1_0_10"])) == 1
    (home/"ws/valor.toml").write_text('# mine\nengine = "local"\n[x]\n'.replace("[x]\n", ""))
    os.utime(home/"ws/data/kitchen/dataset.toml")
    with pytest.raises(ParameterError, match="media_folders"): describe_set("kitchen")
    new_dataset("kitchen", home/"clips", None, "Dog", force=True)
    assert (home/"ws/valor.toml").read_text().count("# mine") == 1 and describe_set("kitchen").media == home/"clips"


# the table

def test_what_excel_exports_is_understood(home):
    text = "Dateiname;Ereignisse;Beginn (s);Ende (s);Bemerkung\r\nKüche 1.MOV;Dog;0,5;2,25;x\r\nC:\\clips\\kitchen_camera_002.wav;rain;10,0;12;\r\n"
    begun = new_dataset("kitchen", home/"clips", table(home, text, "utf-8-sig"), "Dog,Rain")
    weak, truth = read_split("kitchen", "train")
    assert not begun.rows and begun.files == ["kitchen_camera_001"] and "decimal comma" in " ".join(begun.taken)
    assert weak_of(home) == {"Küche 1_0_10": {"Dog"}, "kitchen_camera_002_0_10": set(), "kitchen_camera_002_10_20": {"Rain"}}
    assert truth.audio[0, :, 0].tolist() == [True, True, *[False]*8] and truth.visual[2, :, 1].sum() == 2


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_usual_coding_is_read(home, coding):
    new_dataset("kitchen", home/"clips", table(home, "file;label\nKüche 1;Tür\n", coding), "Tür")
    assert weak_of(home)["Küche 1_0_10"] == {"Tür"}


@pytest.mark.parametrize("raw", [b"sep=;\r\nfile;label\r\nb;Dog, Rain\r\n", "file;label\nb;Dog|Rain\n".encode("utf-16-le"), "file\tlabel\r\nb\tDog, Rain\r\n".encode("utf-16"),
                                 b"file;label\rb;Dog,Rain\r", b"\n\nfile,label\nb,Dog,Rain", b"file;label;\n;;\nb;Dog,Rain;\n", "\ufefffile;label\n\u00a0b ;Dog ; Rain".encode()])
def test_what_other_programs_put_around_a_table_does_no_harm(tmp_path, raw):
    (tmp_path/"x.csv").write_bytes(raw)
    sheet = read_sheet(tmp_path/"x.csv", ["Dog", "Rain"], lambda c: c == "b")
    assert [(r.clip, r.events) for r in sheet.rows] == [("b", ["Dog", "Rain"])] and not sheet.odd


def test_a_row_without_a_file_and_a_file_without_a_row_are_named(home):
    begun = new_dataset("kitchen", home/"clips", table(home, "file,label\nKüche 1,Dog\nkitchen_camera_00,Dog\nkitchen_camera_001,Cow\n"), "Dog,Cat")
    assert [r.split(":")[0] for r in sorted(begun.rows)] == ["weak.csv, line 3", "weak.csv, line 4"] and "'Cow'" in "".join(begun.rows)
    assert sorted(begun.files) == ["kitchen_camera_001", "kitchen_camera_002"] and set(weak_of(home)) == {"Küche 1_0_10"}


def test_without_labels_nobody_has_said_anything(home):
    new_dataset("kitchen", home/"clips", None, "Dog,Rain")
    d = describe_set("kitchen")
    assert not d.weak and d.parts == 10 and set(weak_of(home)) == {"Küche 1_0_10", "kitchen_camera_001_0_10", "kitchen_camera_002_0_10", "kitchen_camera_002_10_20"}
    assert set(inventory("kitchen").what) == {"annotations", "weak labels", "truth", "recordings", "teachers' embeddings"}


NAMES = ["Küche 1", "kitchen_camera_001", "kitchen_camera_002", "a.b", "2024-01-01 12.30", "b, c", "O'Neil", 'the "big" one', "Straße", "日本 1"]
WORDS = ["Dog", "Rain", "Baby cry", "Knock, loud", "Tür", 'Say "hi"', "v1.2", "A/B"]
FORMS = [lambda n: n, str.upper, lambda n: n.replace(" ", "_"), lambda n: unicodedata.normalize("NFD", n), lambda n: f"C:\\Clips\\{n}", lambda n: f"clips/{n}"]


def cells_of(row, separator):
    "A row as a spreadsheet writes it."
    return separator.join('"' + c.replace('"', '""') + '"' if any(s in c for s in (separator, '"', "\n")) else c for c in row)


@st.composite
def tables(draw):
    "Rows that a person means, and the text of a table that says so in some dialect."
    rows = draw(st.lists(st.tuples(st.sampled_from([*NAMES, "nobody"]), st.lists(st.sampled_from(WORDS), unique=True, max_size=3)), min_size=1, max_size=8))
    rows += draw(st.lists(st.sampled_from(rows), max_size=2))                                        # rows that stand there twice
    separator, sign = draw(st.sampled_from(";,\t|")), draw(st.sampled_from([", ", ",", ";", "|", " | "]))
    by_event, ending, odd_case = draw(st.booleans()), draw(st.sampled_from(["", ".wav", ".MP4", ".m4a"])), draw(st.booleans())
    head = draw(st.sampled_from([("filename", "event_labels"), ("Datei", "Klasse"), ("ID", "Labels"), ("Video Name", "Tags"), ("FILE", "Ereignis")]))
    turned, remark, form = draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from(FORMS))
    written = lambda e: unicodedata.normalize("NFD", e.upper()).replace(" ", "_") if odd_case else e
    def line(*cells): return cells_of([*(cells[::-1] if turned else cells), *(["x, y; z"] if remark else [])], separator)
    lines = [cells_of([*(head[::-1] if turned else head), *(["Bemerkung"] if remark else [])], separator)]
    for name, events in rows:
        for es in [[e] for e in events] or [[]] if by_event else [events]: lines.append(line(form(name) + ending, sign.join(map(written, es))))
    text = draw(st.sampled_from(["\n", "\r\n"])).join([*lines, ""])
    return rows, text, draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))


@settings(max_examples=250)
@given(made=tables())
def test_what_is_written_is_what_was_meant_or_the_row_is_named(made, tmp_path_factory):
    from valor_lab.datasets import Recordings
    rows, text, coding = made
    path = tmp_path_factory.getbasetemp()/"made.csv"
    path.write_bytes(text.encode(coding))
    here = Recordings(NAMES)
    sheet = read_sheet(path, WORDS, lambda c: here.find(c) is not None)
    meant = {}
    for name, events in rows: meant.setdefault(name, set()).update(events)
    found, lost = {}, set()
    for r in sheet.rows:
        place = here.find(r.clip)
        (lost.add("nobody") if place is None else found.setdefault(place[0], set()).update(r.events))
    assert found == {n: e for n, e in meant.items() if n != "nobody"} and bool(lost) == ("nobody" in meant) and not sheet.odd


@settings(max_examples=120)
@given(rows=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(WORDS), st.integers(0, 5000), st.integers(1, 3000)), min_size=1, max_size=6),
       style=st.sampled_from(["1.25", "1,25", "00:01.25", "0:00:01,25", "1.25 s"]), separator=st.sampled_from(";\t,"), coding=st.sampled_from(["utf-8-sig", "utf-16", "cp1252"]),
       head=st.sampled_from([("file", "label", "onset", "offset"), ("Datei", "Klasse", "Beginn (s)", "Ende (s)"), ("Filename", "Event", "Start Time", "End Time")]))
def test_times_are_read_as_they_were_meant_in_every_usual_spelling(rows, style, separator, coding, head, tmp_path_factory):
    from valor_lab.datasets import Recordings
    rows = [r for r in rows if coding != "cp1252" or "日" not in r[0]]
    def told(ms):
        comma = "," in style
        m, s = (divmod(ms/1000, 60)) if ":" in style else (0, ms/1000)
        number = f"{s:06.3f}" if ":" in style else f"{s:g}"
        out = number if ":" not in style else f"{'0:' if style.count(':') == 2 else ''}{int(m):02}:{number}"
        return (out.replace(".", ",") if comma else out) + (" s" if style.endswith("s") else "")
    lines = [cells_of(head, separator), *(cells_of([n, e, told(a), told(a + d)], separator) for n, e, a, d in rows)]
    path = tmp_path_factory.getbasetemp()/"times.csv"
    path.write_bytes("\r\n".join([*lines, ""]).encode(coding))
    if not rows: return
    here = Recordings(NAMES)
    sheet = read_sheet(path, WORDS, lambda c: here.find(c) is not None)
    assert sheet.timed and not sheet.odd
    assert [(here.find(r.clip)[0], *r.events, round(r.onset*1000), round(r.offset*1000)) for r in sheet.rows] == [(n, e, a, a + d) for n, e, a, d in rows]
    assert ("decimal comma" in sheet.taken) == (any("," in told(x) for _, _, a, d in rows for x in (a, a + d)))


@settings(max_examples=60)
@given(marks=st.lists(st.tuples(st.sampled_from(NAMES), st.lists(st.booleans(), min_size=len(WORDS), max_size=len(WORDS))), min_size=1, max_size=6),
       yes=st.sampled_from(["1", "x", "X", "yes", "ja", "TRUE", "✓"]), no=st.sampled_from(["", "0", "no", "FALSE", "-"]), separator=st.sampled_from(";,\t"))
def test_a_column_for_each_event_is_understood(marks, yes, no, separator, tmp_path_factory):
    from valor_lab.datasets import Recordings
    path = tmp_path_factory.getbasetemp()/"marks.csv"
    path.write_text("\n".join(cells_of(row, separator) for row in [["file", *WORDS], *([n, *(yes if m else no for m in ms)] for n, ms in marks)]), encoding="utf-8")
    here = Recordings(NAMES)
    sheet = read_sheet(path, WORDS, lambda c: here.find(c) is not None)
    assert not sheet.odd and [(here.find(r.clip)[0], r.events) for r in sheet.rows] == [(n, [w for w, m in zip(WORDS, ms) if m]) for n, ms in marks]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.sampled_from(["Küche 1", "kitchen_camera_001", "kitchen_camera_002", "kitchen_camera_00", "Kueche 1", ""]), st.sampled_from(["Dog", "Cat", "Cow", "", "Dog, Cat"])),
                     min_size=1, max_size=6))
def test_each_row_is_in_the_set_or_named_and_each_file_has_a_row_or_is_named(home, rows):
    lines = ["file;label", *(f"{c};{e}" for c, e in rows)]
    fits = [c in ("Küche 1", "kitchen_camera_001", "kitchen_camera_002") and "Cow" not in e for c, e in rows]
    try: begun = new_dataset("kitchen", home/"clips", table(home, "\n".join(lines)), "Dog,Cat", force=True)
    except ParameterError as e: assert not any(fits) and "weak.csv" in str(e); return
    named = {int(re.search(r"line (\d+)", r)[1]) for r in begun.rows}
    blank = {n + 2 for n, (c, e) in enumerate(rows) if not c and not e}
    assert named == {n + 2 for n, ok in enumerate(fits) if not ok} - blank
    meant = {}
    for (c, e), ok in zip(rows, fits):
        if ok: meant.setdefault(c, set()).update(filter(None, e.split(", ")))
    assert weak_of(home) == {f"{c}_{s}_{s + 10}": es for c, es in meant.items() for s in ((0, 10) if c.endswith("002") else (0,))}
    assert set(begun.files) == {"Küche 1", "kitchen_camera_001", "kitchen_camera_002"} - set(meant)


@pytest.mark.parametrize("text, events", [
    ("file,label\na,\"Dog\nRain\"\n", ["Dog", "Rain"]), ("file,label 1,label_2\na,Dog,Rain\n", ["Dog", "Rain"]), ("file,label,label\na,Dog,Rain\n", ["Dog", "Rain"]),
    ("id,filename,label\n17,a.wav,Dog\n", ["Dog"]), ("a.wav,Dog\n", ["Dog"]), ("file,label\na,\"['Dog', 'Rain']\"\n", ["Dog", "Rain"]), ("file,label\na,n/a\na,Dog\n", ["Dog"]),
    ("fichier;étiquette\na;Dog\n", ["Dog"]), ("文件,标签\na,Dog\n", ["Dog"]), ("file,label\na,Dog\na,dog\nA,DOG\n", ["Dog"]), ("file,Dog,Rain\na,x,\n", ["Dog"]),
    ("file,label\na,Cafe\u0301\na,Caf\u00e9\n", ["Cafe\u0301"]), ("file,label\na,5\" pipe\n", ['5" pipe']), ("file,label\na,50 %\n", ["50 %"])])
def test_tables_that_programs_and_people_make_are_taken_as_they_are_meant_without_named_events(tmp_path, text, events):
    (tmp_path/"x.csv").write_text(text, encoding="utf-8")
    sheet = read_sheet(tmp_path/"x.csv", None, lambda c: c.lower() in ("a", "a.wav"))
    assert not sheet.odd and list(dict.fromkeys(e for r in sheet.rows for e in r.events)) == events


@pytest.mark.parametrize("head, cells, span", [
    ("start_ms,end_ms", "500,2500", (.5, 2.5)), ("Start [min],End [min]", "0.01,0.04", (.6, 2.4)), ("onset,duration", "0.5,2", (.5, 2.5)), ("start,end", "5e-1,2.5 s", (.5, 2.5)),
    ("Start Time (s),End Time (s)", "00:00.5,0:02.5", (.5, 2.5)), ("startTime,endTime", "0.5,2500 ms", (.5, 2.5)), ("Beginn,Ende", '"0:00,5","0:02,5"', (.5, 2.5))])
def test_times_are_in_the_unit_that_their_heading_says(tmp_path, head, cells, span):
    (tmp_path/"x.csv").write_text(f"file,label,{head}\na,Dog,{cells}\n")
    sheet = read_sheet(tmp_path/"x.csv", ["Dog"])
    assert sheet.timed and not sheet.odd and (sheet.rows[0].onset, sheet.rows[0].offset) == pytest.approx(span)


def test_a_table_without_headings_that_says_when_is_known_by_its_cells(tmp_path):
    (tmp_path/"x.tsv").write_text("a.wav\t0.0\t2.0\tDog\nb.wav\t1.0\t2.5\tRain\n")
    for events in (None, ["Dog", "Rain"]):
        sheet = read_sheet(tmp_path/"x.tsv", events, lambda c: c.endswith(".wav"))
        assert [(r.clip, *r.events, r.onset, r.offset) for r in sheet.rows] == [("a.wav", "Dog", 0, 2), ("b.wav", "Rain", 1, 2.5)]


@pytest.mark.parametrize("above", ["My labels;;;\n", "# exported 2026\n", "Project: kitchen\nMade by,somebody\n\n"])
@pytest.mark.parametrize("rows", ["clip;label;start;end\na;Dog;0;1\n", "filename,event,onset,offset\na,Dog,0,1\n"])
def test_lines_above_the_headings_are_named_and_make_no_event(tmp_path, above, rows):
    (tmp_path/"x.csv").write_text(above + rows)
    for events in (None, ["Dog"]):
        sheet = read_sheet(tmp_path/"x.csv", events, lambda c: c == "a")
        assert sheet.events == ["Dog"] and not sheet.odd and sheet.timed and len(sheet.rows) == 1
        line = above.count("\n") + 1
        assert sheet.rows[0].line == line + 1 and f"headings in line {line}" in " · ".join(sheet.taken) and above.split("\n")[0].rstrip(";") in " ".join(sheet.taken)


@pytest.mark.parametrize("raw, why", [
    (b'file,label\na,"Dog\nb,Rain\n', "line 2: a quotation mark"), (b'file,label\na,"Dog\nb,"Rain"\n', "line 2"), (b"PK\x03\x04xyz", "workbook"), (b"<html><table>", "HTML"),
    (b"file,label\na,Do\x00g\n", "line 2: a zero byte"), (b"file,Dog,Rain\na,90%,1\n", "line 2: '90%' under 'Dog'"), (b"file,label,start frame,end frame\na,Dog,1,2\n", "counts"), (b"", "empty")])
def test_what_is_no_table_is_refused_with_the_place_and_no_row_is_swallowed(tmp_path, raw, why):
    (tmp_path/"x.csv").write_bytes(raw)
    with pytest.raises(ParameterError, match="x.csv") as e: read_sheet(tmp_path/"x.csv", ["Dog", "Rain"], lambda c: c in "ab")
    assert why in str(e.value)


def test_columns_that_are_not_used_are_named(tmp_path):
    (tmp_path/"x.csv").write_text("file,label,category,start\na,Dog,Animal,3\n")
    said = " · ".join(read_sheet(tmp_path/"x.csv").taken)
    assert "not used: 'category', 'start'" in said and "times are not used" in said and "onsets" not in said


@pytest.mark.parametrize("text, options, why", [
    ("file,label\nKüche 1,\n", {}, "names an event"), ("file,label\nKüche 1,Dog\n", dict(segment_seconds=0), "segment-seconds"), ("file,label\nKüche 1,Dog\n", dict(window=2.5), "2.5"),
    ("file,label\nKüche 1,Dog\n", dict(n_segments=0), "n-segments"), ("file,label\nKüche 1,Dog\n", dict(segment_seconds=float("nan")), "nan"), ("file,label\nKüche 1,Dog\n", dict(window=-1), "-1"),
    ("file,label\nKüche 1," + "x"*300 + "\n", {}, "200 letters"), ("file,label\n", {}, "no rows")])
def test_what_cannot_become_a_data_set_is_refused_before_anything_is_written(home, text, options, why):
    new_dataset("kitchen", home/"clips", None, "Cat")
    before = {p: p.read_bytes() for p in (home/"ws").rglob("*") if p.is_file()}
    with pytest.raises(ParameterError) as e: new_dataset("kitchen", home/"clips", table(home, text), **options, force=True)
    assert why in str(e.value) and {p: p.read_bytes() for p in (home/"ws").rglob("*") if p.is_file()} == before
    with pytest.raises(ParameterError): new_dataset("other", home/"clips", table(home, text), **options)
    assert not (home/"ws/data/other").exists()


@pytest.mark.parametrize("name", ["stores", "labels", "overlays", "thresholds", "marks", "LLP", "demo-small", "demo-tiny"])
def test_a_name_under_which_something_else_is_kept_is_refused(home, name):
    with pytest.raises(ParameterError, match=name): new_dataset(name, home/"clips", None, "Dog")
    assert not (home/"ws/data"/name).exists()


def test_recordings_that_differ_by_capitals_or_unicode_form_alone_keep_their_own_labels_windows_and_truth(home):
    pairs, folder = [("a", "A"), (unicodedata.normalize("NFC", "Käse"), unicodedata.normalize("NFD", "Käse"))], home/"twins"
    folder.mkdir()
    for n in (n for p in pairs for n in p): sound(folder/f"{n}.wav", 12)
    if len(list(folder.iterdir())) < 4: pytest.skip("this disk cannot tell such names apart")
    rows = "".join(f"{x};Dog;0;4\n{y};Cat;5;9\n" for x, y in pairs)
    begun = new_dataset("twins", folder, table(home, "file;label;start;end\n" + rows), "Dog,Cat")
    weak, truth = read_split("twins", "train")
    files = clip_files(describe_set("twins"), weak.ids)
    assert not begun.rows and all(files[c].path.stem == c.rpartition("_")[0].rpartition("_")[0] for c in weak.ids)
    for x, y in pairs:
        assert weak.events(f"{x}_0_10") == ["Dog"] and weak.events(f"{y}_0_10") == ["Cat"]
        assert truth.audio[weak.ids.index(f"{x}_0_10"), :, 0].tolist() == [True]*4 + [False]*6 and not truth.audio[weak.ids.index(f"{y}_0_10"), :, 0].any()


def test_files_that_cannot_be_used_are_named_with_the_reason(home):
    (home/"clips/broken.wav").write_bytes(b"no"), (home/"clips/below").mkdir(), sound(home/"clips/below/x.wav"), (home/"clips/gone.mp4").symlink_to("/nowhere")
    begun = new_dataset("kitchen", home/"clips", table(home, "file;label\nKüche 1;Dog\nbroken.wav;Dog\n"), "Dog")
    assert any("broken.wav" in r and "cannot be opened" in r and "line 3" in r for r in begun.rows) and "below (1 recording)" in " ".join(begun.taken)
    assert any("gone.mp4" in b and "leads nowhere" in b for b in begun.broken)
    with pytest.raises(ParameterError, match="there is no folder"): new_dataset("x", home/"nowhere", None, "Dog")
    with pytest.raises(ParameterError, match="is a file"): new_dataset("x", home/"clips/Küche 1.wav", None, "Dog")


def test_an_event_shorter_than_half_a_segment_is_in_the_weak_label_and_is_said(home):
    begun = new_dataset("kitchen", home/"clips", table(home, "file;label;start;end\nKüche 1;Dog;0,00001;0,2\nkitchen_camera_002;Dog;11;11,3\n"), "Dog")
    assert weak_of(home) == {"Küche 1_0_10": {"Dog"}, "kitchen_camera_002_0_10": set(), "kitchen_camera_002_10_20": {"Dog"}}
    assert "2 rows fill no segment" in " ".join(begun.taken) and not read_split("kitchen")[1].audio.any()


# formats

@settings(max_examples=60)
@given(kind=st.sampled_from(sorted(FORMATS)), seed=st.integers(0, 10**6), T=st.integers(1, 12), seconds=st.sampled_from([.5, 1., 10/3, 60.]))
def test_labels_come_back_from_every_format_exact_to_the_grid(kind, seed, T, seconds, tmp_path_factory):
    rng, n = np.random.default_rng(seed), 3
    vocab = Vocab("own", EVENTS, EVENTS, EVENTS, *np.full((2, len(EVENTS)), np.nan))
    ids, y = ["Küche 1", "clip_0_10", "x y.z"], rng.random((2, n, T, len(EVENTS))) < .3
    some = SegmentLabels(ids, *y, vocab, np.full(n, T*seconds))
    written, _ = export_labels(some, kind, tmp_path_factory.mktemp("out")/"labels")
    again, odd, _ = import_labels(written, ids, vocab, T, some.durations)
    assert not odd and (again.audio == some.audio).all() and (again.visual == some.visual).all()


AWKWARD = ['Say "hi"', "Knock, loud", "Türklingel", "🐶 Wuff 👍🏽", "a --> b", "-->", "<b>bold</b>", "x&amp;y", "Sound check", "audio Dog", "Dog", "both", "NOTE this", "= 1+1",
           "0", "a;b|c", "A/B", "back\\slash", "Cafe\u0301", "%20", '"']


@pytest.mark.parametrize("T, seconds", [(16, 10.), (10, 6.4), (30, 29.97), (1, .04), (5, 3600.)])
@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_awkward_names_and_grids_come_back_from_every_format(tmp_path, kind, T, seconds):
    "Segments of 10/16 s and of 0.64 s, clips of 29.97 s and of an hour, an event up to the clip's end, a clip without any."
    vocab = Vocab("own", AWKWARD, AWKWARD, AWKWARD, *np.full((2, len(AWKWARD)), np.nan))
    ids = ["Küche 1", "a%20b", 'q?"x"', "nothing", "Cafe\u0301", "-dash"]
    y = np.random.default_rng(T).random((2, len(ids), T, len(vocab))) < .3
    y[:, 3], y[:, 0, -1] = False, True
    some = SegmentLabels(ids, *y, vocab, np.full(len(ids), seconds))
    written, said = export_labels(some, kind, tmp_path/"labels")
    again, odd, _ = import_labels(written, ids, vocab, T, some.durations)
    assert not odd and (again.audio == y[0]).all() and (again.visual == y[1]).all()
    f = FORMATS[kind]
    assert ("heard or seen" in " ".join(said)) == (not f.modality) and ("clips without an event" in " ".join(said)) == bool(f.lacks and not f.each)
    assert ("whole milliseconds" in " ".join(said)) == (f.coarse and T*1000 % 10 == 0 and round(seconds*1000) % T > 0)


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_a_name_with_a_line_end_is_refused_by_every_format_and_nothing_is_written(tmp_path, kind):
    vocab = Vocab("own", ["two\nlines"], ["x"], ["x"], [0], [0])
    with pytest.raises(ParameterError, match="line end"): export_labels(SegmentLabels(["a"], *np.ones((2, 1, 2, 1), bool), vocab), kind, tmp_path/"out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", sorted(k for k in FORMATS))
def test_windows_of_a_recording_come_back_from_every_format(tmp_path, kind):
    vocab = Vocab("own", AWKWARD, AWKWARD, AWKWARD, *np.full((2, len(AWKWARD)), np.nan))
    ids = ["Küche 1_0_10", "Küche 1_10_20", "Küche 1_20_30"]
    parts, y = {c: ("Küche 1", 10.*n) for n, c in enumerate(ids)}, np.random.default_rng(1).random((2, 3, 16, len(AWKWARD))) < .4
    some = SegmentLabels(ids, *y, vocab, [10.]*3)
    written, _ = export_labels(some, kind, tmp_path/"labels", parts=parts)
    again, odd, _ = import_labels(written, ids, vocab, 16, some.durations, parts=parts)
    assert not odd and (again.audio == y[0]).all() and (again.visual == y[1]).all()


FOREIGN = {   # how other tools write these labels, as their documents show it
    "dcase.tsv": "filename\tonset\toffset\tevent_label\nfilm.wav\t0.0\t2.04\tDog\nfilm.wav\t5.0\t6.0\tSpeech\nother.wav\t\t\t\n",
    "strong.tsv": "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\nfilm\t0.000\t2.040\tDog\nfilm\t5.000\t6.000\tSpeech\n",
    "unav.json": json.dumps(dict(version="UnAV-100", database=dict(film=dict(subset="train", duration="10.0", annotations=[
        dict(segment=["0.0", "2.0"], label="Dog", label_id="3"), dict(segment=["5.0", "6.0"], label="Speech", label_id="0")])))),
    "ls.json": json.dumps([dict(id=1, data=dict(audio="/data/upload/1/film.wav"), annotations=[dict(result=[
        dict(id="a", from_name="label", to_name="audio", type="labels", value=dict(start=0, end=2.0, channel=0, labels=["Dog"])),
        dict(id="b", from_name="label", to_name="audio", type="labels", value=dict(start=5, end=6.0, channel=0, labels=["Speech"])),
        dict(id="c", from_name="mood", to_name="audio", type="choices", value=dict(choices=["good"]))])])]),
    "via.json": json.dumps(dict(project=dict(pname="x"), config={}, attribute={"1": dict(aname="event", type=4, options={"0": "Dog", "1": "Speech"})},
                                file={"1": dict(fid="1", fname="film.mp4", type=4, loc=1, src="")}, view={"1": dict(fid_list=["1"])},
                                metadata={"1_a": dict(vid="1", flg=0, z=[0, 2], xy=[], av={"1": "0"}), "1_b": dict(vid="1", flg=0, z=[5, 6], xy=[], av={"1": "1"})})),
    "film.txt": "0.000000\t2.000000\tDog\n\\\t100\t200\n5.000000\t6.000000\tSpeech\n",
    "film.vtt": "WEBVTT - made elsewhere\n\nNOTE a note\n\n1\n00:00.000 --> 00:02.000 align:start\n<v Ann>Dog\n\n00:00:05.000 --> 00:00:06.000\nSpeech\n"}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_tools_are_read(tmp_path, name):
    (tmp_path/name).write_text(FOREIGN[name])
    labels, odd, said = import_labels([tmp_path/name], ["film"], LLP, 10)
    assert not odd and said and "heard or seen" in said[0]
    assert np.flatnonzero(labels.audio_visual[0, :, LLP.index("Dog")]).tolist() == [0, 1] and labels.audio_visual[0, 5, 0] and labels.audio.sum() == 3


def test_an_elan_file_made_by_hand_is_read_by_its_tiers(tmp_path):
    pympi = pytest.importorskip("pympi")
    eaf = pympi.Elan.Eaf()
    for tier, value in (("audio", "Dog"), ("Dog", "x"), ("seen", "Speech")):
        eaf.add_tier(tier), eaf.add_annotation(tier, 0, 1000, value)
    eaf.to_file(str(tmp_path/"film.eaf"))
    labels, odd, said = import_labels([tmp_path/"film.eaf"], ["film"], LLP, 10)
    assert labels.audio[0, 0, LLP.index("Dog")] and labels.visual[0, 0, 0] and "'x'" in odd[0]


@pytest.mark.parametrize("name,text", [("x.json", "{"), ("x.json", "[1]"), ("x.json", '{"database": {"a": {"annotations": [{"segment": [1], "label": "Dog"}]}}}'),
                                       ("x.vtt", "hello"), ("x.eaf", "<a/>"), ("x.txt", "0\tone\tDog\n"), ("x.tsv", "a\tb\n"), ("x.pdf", "%PDF")])
def test_a_file_that_is_not_what_it_seems_is_named(tmp_path, name, text):
    (tmp_path/name).write_text(text)
    with pytest.raises(ParameterError, match="x\\."): import_labels([tmp_path/name], ["film"], LLP, 10)


@pytest.mark.parametrize("name, text", [("film.txt", "0.0\t1.0\tSound check\n"), ("film.vtt", "WEBVTT\n\n00:00.000 --> 00:01.000\nSound check\n")])
def test_a_label_of_another_tool_that_begins_with_a_word_for_a_stream_is_the_event_of_that_name(tmp_path, name, text):
    vocab = Vocab("own", ["Sound check", "Dog"], ["x", "x"], ["x", "x"], [0, 0], [0, 0])
    (tmp_path/name).write_text(text)
    labels, odd, said = import_labels([tmp_path/name], ["film"], vocab, 10)
    assert not odd and labels.audio[0, 0].tolist() == labels.visual[0, 0].tolist() == [True, False] and "heard or seen" in said[0]


@pytest.mark.parametrize("name, text, heard, says", [
    ("x.csv", "id,filename,event,onset,offset\n1,film.wav,Dog,0,1\n", 1, ""), ("x.csv", "film,Dog,0,1\n", 1, ""), ("x.csv", "clip,event,start_ms,end_ms\nfilm,Dog,0,1000\n", 1, ""),
    ("x.csv", "clip,event,onset,offset\nfilm,Dog,0,0.2\n", 0, "no segment"), ("film.vtt", "WEBVTT\r\r00:00.000 --> 00:01.000\rDog\r", 1, ""),
    ("x.json", json.dumps([dict(data=dict(audio=a), annotations=[dict(result=[dict(value=dict(start=0, end=1, labels="Dog"))]), dict(was_cancelled=True, result=[
        dict(value=dict(start=4, end=5, labels=["Dog"]))])]) for a in ("/data/local-files/?d=clips/film.wav",)]), 1, ""),
    ("x.json", json.dumps([dict(data=dict(audio="/data/upload/3/1a2b3c4d-film.wav"), annotations=[dict(result=[dict(value=dict(start=n, end=n + 1, labels=["Dog"]))]) for n in (0, 4)])]), 2, "several annotations"),
    ("x.json", '{"database": {"film": {"annotations": null}}}', 0, "")])
def test_what_other_tools_write_beside_their_documents_is_read_and_what_is_lost_is_said(tmp_path, name, text, heard, says):
    (tmp_path/name).write_bytes(text.encode())
    labels, odd, said = import_labels([tmp_path/name], ["film"], LLP, 10)
    assert not odd and labels.audio.sum() == heard and says in " ".join(said)


@pytest.mark.parametrize("name, text", [("x.vtt", "WEBVTT\n\n-->\nDog\n"), ("x.json", '{"database": {"film": ["Dog"]}}')])
def test_a_damaged_file_of_labels_is_named_and_an_unknown_kind_too(tmp_path, name, text):
    (tmp_path/name).write_text(text)
    with pytest.raises(ParameterError, match="x\\."): import_labels([tmp_path/name], ["film"], LLP, 10)
    with pytest.raises(ParameterError, match="'foo' is not known"): import_labels([tmp_path/name], ["film"], LLP, 10, kind="foo")


ELAN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds"/><TIME_ORDER>{}</TIME_ORDER><TIER TIER_ID="{}" LINGUISTIC_TYPE_REF="default-lt">{}</TIER>
<LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/></ANNOTATION_DOCUMENT>"""

def elan(path, times, tier, *values):
    "A file of ELAN in which each annotation ends where the next one begins; None: a place in time that nobody has set."
    slots = "".join(f'<TIME_SLOT TIME_SLOT_ID="ts{n}"' + (f' TIME_VALUE="{t}"/>' if t is not None else "/>") for n, t in enumerate(times))
    made = "".join(f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{n}" TIME_SLOT_REF1="ts{n}" TIME_SLOT_REF2="ts{n + 1}"><ANNOTATION_VALUE>{v}'
                   "</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>" for n, v in enumerate(values))
    path.write_text(ELAN.format(slots, tier, made))
    return path


def test_annotations_of_elan_whose_borders_nobody_has_set_share_the_time_between_those_that_are_set(tmp_path):
    pytest.importorskip("pympi")
    labels, odd, _ = import_labels([elan(tmp_path/"film.eaf", [0, None, None, 9000], "audio", "Dog", "Cat", "Dog")], ["film"], LLP, 10)
    assert not odd and np.flatnonzero(labels.audio[0, :, LLP.index("Dog")]).tolist() == [0, 1, 2, 6, 7, 8]
    assert np.flatnonzero(labels.audio[0, :, LLP.index("Cat")]).tolist() == [3, 4, 5] and not labels.visual.any()


@pytest.mark.parametrize("label", ["seen well", "a comment", "heard nothing"])
def test_a_note_that_begins_with_a_word_for_a_stream_is_named_as_it_stands(tmp_path, label):
    (tmp_path/"film.txt").write_text(f"0\t1\t{label}\n1\t2\theard Dog\n")
    labels, odd, _ = import_labels([tmp_path/"film.txt"], ["film"], LLP, 10)
    assert len(odd) == 1 and repr(label) in odd[0] and labels.audio.sum() == 1 and not labels.visual.any()


@pytest.mark.parametrize("coding", ["utf-16", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("name, text", [
    ("x.csv", "Datei;Klasse;Beginn;Ende\nKüche;Dog;0,5;2,0\n"), ("x.tsv", "Datei\tKlasse\tBeginn\tEnde\nKüche\tDog\t0,5\t2,0\n"), ("x.tsv", "Küche.wav\t0.5\t2.0\tDog\n"),
    ("x.tsv", "filename\tonset\toffset\tevent_label\nKüche.wav\t0,5\t2,0\tDog\n"), ("x.csv", "filename\tonset\toffset\tevent_labels\nKüche\t0.5\t2\tDog\n"),
    ("Küche.txt", "0,5\t2,0\tDog\n")])
def test_tables_of_labels_are_read_in_every_usual_coding_and_with_a_decimal_comma(tmp_path, name, text, coding):
    (tmp_path/name).write_bytes(text.encode(coding))
    labels, odd, _ = import_labels([tmp_path/name], ["Küche"], LLP, 10)
    assert not odd and np.flatnonzero(labels.audio[0, :, LLP.index("Dog")]).tolist() == [0, 1]


@pytest.mark.parametrize("name, text, why", [
    ("x.xlsx", "PK\x03\x04", "a workbook of Excel or LibreOffice: open it in a spreadsheet"), ("x.csv", "PK\x03\x04", "a workbook"),
    ("x.json", '[{"id": 1, "audio": "/data/upload/film.wav", "label": [{"start": 0, "end": 1, "labels": ["Dog"]}]}]', "export it as JSON, not as JSON-MIN")])
def test_what_another_tool_writes_in_a_form_that_is_not_read_says_what_to_do(tmp_path, name, text, why):
    (tmp_path/name).write_bytes(text.encode())
    with pytest.raises(ParameterError, match=name) as e: import_labels([tmp_path/name], ["film"], LLP, 10)
    assert why in str(e.value)


@pytest.mark.parametrize("data, annotations, heard, says", [
    (dict(title="A talk. Dog", audio="/data/upload/3/film.wav"), [dict(result=[dict(value=dict(start=0, end=1, labels=["Dog"]))])], 1, ""),
    (dict(audio="film.wav"), [dict(result=None)], 0, ""), (dict(audio="film.wav"), [], 0, "guesses of a machine")])
def test_tasks_of_label_studio_are_known_by_their_media_and_predictions_are_said(tmp_path, data, annotations, heard, says):
    guess = dict(result=[dict(value=dict(start=4, end=5, labels=["Dog"]))])
    (tmp_path/"x.json").write_text(json.dumps([dict(data=data, annotations=annotations, predictions=[guess]*bool(says))]))
    labels, odd, said = import_labels([tmp_path/"x.json"], ["film"], LLP, 10)
    assert not odd and labels.audio.sum() == heard and says in " ".join(said)


def test_a_row_that_ends_behind_its_clip_is_used_to_the_end_and_called_cut(home, capsys):
    from valor_lab.cli import main
    from valor_lab.datasets import load_labels
    new_dataset("kitchen", home/"clips", events="Dog,Rain", n_segments=4)
    (home/"x.csv").write_text("clip,event,modality,onset,offset\nKüche 1,Dog,audio,1.5,30\nKüche 1,Rain,audio,8,9\nKüche 1,Cat,audio,0,1\n")
    assert main(["labels", "import", str(home/"x.csv"), "--as", "x", "--set", "kitchen"]) == 2
    out, err = capsys.readouterr()
    assert "row cut: Küche 1 Dog: 30 s" in out and "row not used: Küche 1 Rain: 9 s" in out and "unknown event 'Cat'" in out and "2 rows were not used, 1 cut" in err
    assert load_labels("x").audio.sum() == 2


def test_own_labels_leave_by_split_and_a_file_is_no_folder(home, capsys):
    from valor_lab.cli import main
    (home/"w.csv").write_text("file,label,split\nKüche 1,Dog,train\nkitchen_camera_001,Dog,val\n")
    new_dataset("kitchen", home/"clips", home/"w.csv", n_segments=4)
    (home/"x.csv").write_text("clip,event,modality,onset,offset\nKüche 1,Dog,audio,0,3\nkitchen_camera_001,Dog,audio,0,3\n")
    assert main(["labels", "import", str(home/"x.csv"), "--as", "x", "--set", "kitchen"]) == 0
    assert main(["labels", "export", "x", "--as", "csv", "--to", str(home/"out"), "--split", "val"]) == 0
    assert "camera_001" in (said := (home/"out.csv").read_text()) and "Küche" not in said
    assert main(["labels", "export", "x", "--as", "csv", "--to", str(home/"o2"), "--split", "nix"]) == 2
    capsys.readouterr()
    assert main(["labels", "export", "x", "--as", "webvtt", "--to", str(home/"x.csv")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_windows_leave_as_one_recording_and_come_back_as_windows(tmp_path):
    ids, parts = ["film_0_10", "film_10_20"], {"film_0_10": ("film", 0.), "film_10_20": ("film", 10.)}
    y = np.zeros((2, 10, 25), bool)
    y[0, 8:], y[1, :3] = True, True
    some = SegmentLabels(ids, y, y.copy())
    written, _ = export_labels(some, "audacity", tmp_path/"out", parts=parts)
    assert [p.name for p in written] == ["film.txt"] and "8.000000\t13.000000\taudio Dog" in written[0].read_text()
    again, odd, _ = import_labels(written, ids, LLP, 10, parts=parts)
    assert not odd and (again.audio == y).all()


# the story: commands alone

@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    "Fourteen recordings and an export of Excel, in a workspace, harvested; made once."
    pytest.importorskip("torch"), pytest.importorskip("av")
    from own_recordings import EVENTS as events, render, spreadsheet
    from valor_lab.cli import main
    base, mp = tmp_path_factory.mktemp("story"), pytest.MonkeyPatch()
    render(base/"clips", int(os.environ.get("VALOR_LONG", 40))), spreadsheet(base/"weak.csv")
    mp.delenv("VALOR_ROOT", raising=False)
    assert main(["init", str(base/"ws")]) == 0
    mp.chdir(base/"ws")
    assert main(["new", "data/kitchen", "--videos", str(base/"clips"), "--labels", str(base/"weak.csv"), "--events", ",".join(events)]) == 0
    assert main(["harvest", "kitchen", "--demo", "--quiet"]) == 0
    yield base
    mp.undo()


def test_the_harvest_of_fourteen_recordings_keeps_each_with_what_it_has(kitchen):
    data = load_dataset("kitchen", features="own")
    assert len(data) == len(data.weak) and data.labels is not None and data.scores is not None and data.findings is None
    lacks = set(zip(data.missing["clip"], data.missing["what"]))
    assert {("silent film_0_10", "own audio"), ("Tonspur_0_10", "own visual"), ("field_0_10", "own visual")} <= lacks
    place = {c: n for n, c in enumerate(data.ids)}
    assert np.isnan(data.features["audio"][place["silent film_0_10"]]).all() and np.isnan(data.features["audio"][place["short_0_10"]][3:]).all()
    assert not data.labels.audio[place["short_0_10"], 3:].any() and (data.labels.weak().mask <= data.weak.mask).all()


def test_browse_shows_every_clip_from_its_own_second_of_the_recording(kitchen):
    from valor_lab.grid import Window
    from valor_lab.workbench import load_clips
    clips = load_clips("kitchen", "train")
    assert set(clips.files) == set(clips.ids) and clips.files["hall one_10_20"].start == 10 and isinstance(clips.files["short_0_10"], Window)
    assert not clips.complaints and "harvested" in clips.labelings and clips.truth is None and clips.duration("short_0_10") == 10


def test_two_corrected_segments_reach_the_training_and_elan(kitchen, capsys):
    from valor_lab.cli import main
    from valor_lab.labels import Overlay
    from valor_lab.workbench import load_clips
    clips = load_clips("kitchen", "train")
    o = Overlay("kitchen-mended", clips.labelings["harvested"], "harvested", "Ada")
    base = clips.labelings["harvested"].select(["quiet_0_10"])
    for m in ("audio", "visual"): assert o.paint("quiet_0_10", "Dog", m, 0, 2)
    o.save()
    mended = load_clips("kitchen", "train").labelings["kitchen-mended"]
    assert mended.select(["quiet_0_10"]).audio[0, :2, 0].all() and not base.audio[0, :2, 0].any()
    assert main(["train", "kitchen", "--preset", "han,valor", "--labels", "kitchen-mended", "--epochs", "2", "--overrides", "d_model = 16\nd_ff = 16\nn_heads = 2"]) == 0
    notebook = next(Path("reports").glob("*/train.ipynb")).read_text()
    assert "No validation split with truth" in notebook and "No test split with truth" in notebook and "Traceback" not in notebook
    capsys.readouterr()
    assert main(["labels", "export", "kitchen-mended", "--set", "kitchen", "--as", "elan", "--to", "eaf"]) == 0
    assert main(["labels", "import", "eaf", "--set", "kitchen", "--as", "back"]) == 0
    back = load_labels("back").select(mended.ids)
    assert (back.audio == mended.audio).all() and (back.visual == mended.visual).all()


def test_a_new_recording_is_parsed_as_the_store_was_made(kitchen, capsys):
    from valor_lab.cli import main
    from valor_lab.training import feature_maker, open_run
    run = next(p.parent for p in sorted(Path("runs").glob("*valor-kitchen*/config.toml")))
    shutil.copy(kitchen/"clips/hall one.mp4", kitchen/"new one.mp4")
    assert main(["parse", str(kitchen/"new one.mp4"), "--run", run.name, "--out", "parsed"]) == 0
    labels = load_labels("parsed")
    assert labels.ids == ("new one",) and labels.n_segments == 20 and not labels.audio[0, 14:].any()
    assert main(["labels", "export", "parsed", "--as", "elan"]) == 0 and Path("parsed-elan/new one.eaf").is_file()
    before = Path("data/labels/kitchen-harvested/about.json").read_bytes()
    assert main(["parse", str(kitchen/"new one.mp4"), "--run", run.name, "--out", "kitchen-harvested"]) == 2 and "no parsing made" in capsys.readouterr().err
    assert Path("data/labels/kitchen-harvested/about.json").read_bytes() == before and not Path("kitchen-harvested").exists()
    data, files = load_dataset("kitchen", features="own"), clip_files(describe_set("kitchen"), ["hall one_10_20"])
    made = feature_maker("own", "kitchen", "cpu", open_run(run).data["made"])(files["hall one_10_20"])[1]
    n = data.ids.index("hall one_10_20")
    for m in ("audio", "visual"): np.testing.assert_allclose(made[m], data.features[m][n], atol=2e-3)


def test_a_set_without_weak_labels_opens_and_its_gate_is_open(kitchen):
    from valor_lab.cli import main
    from valor_lab.workbench import begin_tuning, load_clips
    assert main(["new", "bare", "--videos", str(kitchen/"clips"), "--events", "Dog,Cello", "--force"]) == 0
    clips = load_clips("bare", "train")
    assert clips.weak is None and list(clips.labelings) == ["nothing yet"] and len(clips.files) == len(clips)
    shutil.copytree("data/stores/kitchen", "data/stores/bare", dirs_exist_ok=True)
    tuning = begin_tuning(load_clips("bare", "train"))
    assert tuning.gates() == ["none"] and tuning.labels.audio.any()


# what version 0.1 left

def test_a_workspace_of_version_0_1_opens_where_it_was(tmp_path, monkeypatch):
    "Labelings with their tables beside about.json, overlays and thresholds under data/, as 0.1 wrote them."
    from valor_lab.core import fingerprint
    from valor_lab.harvest import Thresholds, own_thresholds
    from valor_lab.labels import Overlay, WeakLabels, list_overlays, open_overlay
    from valor_lab.workbench import load_clips, presets
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    weak = WeakLabels([f"clip{i:07d}_0_10" for i in range(3)], np.eye(3, 25))
    (tmp_path/"data/llp").mkdir(parents=True)
    for f in ("AVVP_train.csv", "AVVP_val_pd.csv", "AVVP_test_pd.csv"): weak.to_csv(tmp_path/"data/llp"/f)
    weak.copied().to_csv(tmp_path/"data/llp/AVVP_eval_audio.csv", tmp_path/"data/llp/AVVP_eval_visual.csv")
    some, old = weak.copied(), tmp_path/"data/labels/mine"
    old.mkdir(parents=True)
    some.to_frame().to_csv(old/"events.csv", index=False)
    pd.DataFrame(dict(clip=some.ids, duration=10.)).to_csv(old/"clips.csv", index=False)
    body = dict(n_segments=10, vocabulary="llp", events=list(LLP.events), fingerprint=fingerprint(list(some.ids), some.audio, some.visual), about={})
    (old/"about.json").write_text(json.dumps(body))
    o = Overlay("mended", some, "truth", "Ada")
    o.paint(weak.ids[0], "Dog", "audio", 0, 2)
    (tmp_path/"data/overlays").mkdir()
    (tmp_path/"data/overlays/mended.json").write_text(json.dumps(dict(format=1, name="mended", base="truth", vocabulary="llp", n_segments=10, seen=o.seen, edits=o.edits)))
    own_thresholds(LLP).save(tmp_path/"data/thresholds/first.toml")
    clips = load_clips("llp", "val")
    assert {"truth", "mine", "mended"} <= set(clips.labelings) and not clips.complaints and presets("data/thresholds") == ["first"]
    assert clips.labelings["mended"].audio[0, :2, LLP.index("Dog")].all() and list_overlays() == ["mended"]


def test_events_of_any_letters_survive_labels_overlays_thresholds_and_the_file(home):
    from valor_lab.datasets import save_labels
    from valor_lab.harvest import Thresholds, own_thresholds
    from valor_lab.labels import Overlay, open_overlay
    begun = new_dataset("kitchen", home/"clips", None, ['"Knock, loud"', *(json.dumps(e, ensure_ascii=False).replace('\\"', '""').replace("\\\\", "\\") for e in AWKWARD if e != "Knock, loud")])
    vocab = describe_set("kitchen").vocab
    assert set(vocab.events) == set(begun.events) == set(AWKWARD)
    y = np.random.default_rng(0).random((2, 2, 4, len(vocab))) < .4
    some = SegmentLabels(["Küche 1_0_10", "b"], *y, vocab)
    save_labels(some, "mine")
    again = load_labels("mine", vocab=vocab)
    assert again.vocab.events == vocab.events and (again.audio == y[0]).all() and (again.visual == y[1]).all()
    o = Overlay("o", some, "mine", "Ada")
    for e in vocab.events: o.paint("b", e, "audio", 0, 1, not some.audio[1, 0, vocab.index(e)])
    o.save()
    assert (open_overlay("o", some).apply().audio == o.apply().audio).all() and len(o) == len(vocab)
    t = own_thresholds(vocab.with_thresholds(np.arange(len(vocab)), -np.arange(len(vocab))))
    t.save(home/"ws/data/thresholds/t.toml")
    back = Thresholds.load(home/"ws/data/thresholds/t.toml", vocab)
    assert np.array_equal(back.clip, t.clip) and np.array_equal(back.clap, t.clap)


# two data sets of which one name begins as the other

def test_two_sets_of_which_one_name_begins_as_the_other_share_nothing(home):
    "The same recordings and events under `kitchen` and `kitchen-two`: labelings, corrections, marks, strokes and annotated clips stay apart."
    from valor_lab.datasets import save_labels
    from valor_lab.labels import Marks, Overlay, keep_strokes, left_strokes
    from valor_lab.workbench import load_clips
    for n in ("kitchen", "kitchen-two"): new_dataset(n, home/"clips", None, "Dog,Rain")
    some = {}
    for n in ("kitchen", "kitchen-two"):
        ids, vocab = read_split(n)[0].ids, describe_set(n).vocab
        some[n] = SegmentLabels(ids, *(np.random.default_rng(len(n)).random((2, len(ids), 10, 2)) < .5), vocab)
        save_labels(some[n], f"{n}-harvested")                                       # as version 0.1 wrote them: nothing says of which set
        save_labels(some[n], f"{n}-strict", about=dict(home=n))
        o = Overlay(f"{n}-corrected", some[n], "harvested", "Ada")
        o.paint(ids[0], "Dog", "audio", 0, 1, not some[n].audio[0, 0, 0]), o.save()
    for n, other in (("kitchen", "kitchen-two"), ("kitchen-two", "kitchen")):
        clips = load_clips(n, "train")
        assert set(clips.labelings) == {"harvested", f"{n}-strict", f"{n}-corrected"} and clips.home == n
        assert (clips.labelings["harvested"].audio == some[n].audio).all() and not clips.complaints
    pairs = [("kitchen", "two-Ada"), ("kitchen-two", "Ada"), ("kitchen", "Jörg"), ("kitchen", "Järg"), ("kitchen", "J-rg")]
    for k, (n, who) in enumerate(pairs): Marks(n, who).set(f"clip {k}", "done")
    assert [Marks(n, who).done() for n, who in pairs] == [[f"clip {k}"] for k in range(len(pairs))]
    for n, who in pairs:
        o = Overlay(n, some["kitchen"], "harvested", who)
        o.paint(o.labels.ids[0], "Dog", "audio", 0, 2), keep_strokes(o)
    assert {(s["name"], s["who"]) for s in left_strokes()} == set(pairs)


def test_marks_that_were_begun_under_the_plain_name_stay(home):
    from valor_lab.labels import Marks
    old = home/"ws/data/marks/kitchen-Ada-B.json"
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps(dict(set="kitchen", who="Ada B", marks={"a": dict(state="done", note="", when="")})))
    assert Marks("kitchen", "Ada B").done() == ["a"] and Marks("kitchen", "Ada-B").done() == []
    Marks("kitchen", "Ada B").set("b", "done")
    assert json.loads(old.read_text())["marks"].keys() == {"a", "b"} and len(list(old.parent.glob("*.json"))) == 1


def test_a_set_that_is_called_as_another_in_one_of_its_sizes_is_refused_by_its_file(home):
    for n, more in (("k", "[sizes.small]\n"), ("k-small", "")):
        (home/"ws/data"/n).mkdir()
        (home/"ws/data"/n/"dataset.toml").write_text(TOML + more)
    assert known("k") == "k"
    with pytest.raises(ParameterError, match="k-small/dataset.toml.*'k' in size 'small'"): known("k-small")


def test_a_task_that_nobody_knows_is_named_with_the_file(home):
    from valor_lab.training import preset, for_dataset
    new_dataset("kitchen", home/"clips", None, "Dog")
    file = home/"ws/data/kitchen/dataset.toml"
    file.write_text(file.read_text().replace('"avvp"', '"avvpp"'))
    with pytest.raises(ParameterError, match="kitchen/dataset.toml.*'avvpp'"): for_dataset(preset("valor"), "kitchen")
