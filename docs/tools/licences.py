"""The licences of everything that an installation brings, as a page: from the metadata of the packages in this environment.

    python docs/tools/licences.py > docs/licences.md        # in an environment with '.[all,dev]'
    python docs/tools/licences.py --check                   # ends with 1 if the page lacks a package that is needed here

A package counts if valor_lab's requirements lead to it. Libraries in C that lie inside a wheel are listed as they are found on the disk; their licences stand
in BUNDLED, since no metadata tells them."""
import importlib.metadata as md, re, sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = {                                          # the beginning of a library's name -> what it is, its licence
    "libx264": ("x264", "GPL-2.0-or-later"), "libx265": ("x265", "GPL-2.0-or-later"), "libav": ("FFmpeg", "LGPL-3.0-or-later by its own word"),
    "libsw": ("FFmpeg", "LGPL-3.0-or-later by its own word"), "libpostproc": ("FFmpeg", "LGPL-3.0-or-later by its own word"),
    "libmp3lame": ("LAME", "LGPL-2.0-or-later"), "libvpx": ("libvpx", "BSD-3-Clause"), "libopus": ("Opus", "BSD-3-Clause"), "libdav1d": ("dav1d", "BSD-2-Clause"),
    "libaom": ("libaom", "BSD-2-Clause"), "libSvtAv1": ("SVT-AV1", "BSD-3-Clause-Clear"), "libogg": ("Ogg", "BSD-3-Clause"), "libvorbis": ("Vorbis", "BSD-3-Clause"),
    "libtheora": ("Theora", "BSD-3-Clause"), "libspeex": ("Speex", "BSD-3-Clause"), "libtwolame": ("TwoLAME", "LGPL-2.1-or-later"), "libopencore": ("OpenCORE AMR", "Apache-2.0"),
    "libgnutls": ("GnuTLS", "LGPL-2.1-or-later"), "libnettle": ("Nettle", "LGPL-3.0-or-later or GPL-2.0-or-later"), "libhogweed": ("Nettle", "LGPL-3.0-or-later or GPL-2.0-or-later"),
    "libgmp": ("GMP", "LGPL-3.0-or-later or GPL-2.0-or-later"), "libopenblas": ("OpenBLAS", "BSD-3-Clause"), "libscipy_openblas": ("OpenBLAS", "BSD-3-Clause"), "libgfortran": ("GCC runtime", "GPL-3.0-or-later with the GCC exception"),
    "libquadmath": ("GCC runtime", "LGPL-2.1-or-later"), "libgomp": ("GCC runtime", "GPL-3.0-or-later with the GCC exception"), "libstdc": ("GCC runtime", "GPL-3.0-or-later with the GCC exception"),
    "libgcc": ("GCC runtime", "GPL-3.0-or-later with the GCC exception"), "libsndfile": ("libsndfile", "LGPL-2.1-or-later"), "libsoxr": ("libsoxr", "LGPL-2.1-or-later"),
    "libwebp": ("libwebp", "BSD-3-Clause"), "libsharpyuv": ("libwebp", "BSD-3-Clause"), "libjpeg": ("libjpeg-turbo", "IJG and BSD-3-Clause"), "libpng": ("libpng", "libpng-2.0"),
    "libtiff": ("libtiff", "libtiff"), "libfreetype": ("FreeType", "FTL"), "libharfbuzz": ("HarfBuzz", "MIT"), "liblcms2": ("Little CMS", "MIT"), "libopenjp2": ("OpenJPEG", "BSD-2-Clause"),
    "libxcb": ("libxcb", "MIT"), "libXau": ("libXau", "MIT"), "liblzma": ("XZ", "0BSD"), "libz": ("zlib", "Zlib"), "libbrotli": ("Brotli", "MIT"), "libavif": ("libavif", "BSD-2-Clause"),
    "libzstd": ("Zstandard", "BSD-3-Clause"), "libbz2": ("bzip2", "bzip2-1.0.6"), "libqpdf": ("QPDF", "Apache-2.0"), "libssl": ("OpenSSL", "Apache-2.0"), "libcrypto": ("OpenSSL", "Apache-2.0"),
    "libxml2": ("libxml2", "MIT"), "libunistring": ("libunistring", "LGPL-3.0-or-later or GPL-2.0-or-later"), "libidn2": ("libidn2", "LGPL-3.0-or-later or GPL-2.0-or-later"),
    "libtasn1": ("libtasn1", "LGPL-2.1-or-later"), "libp11": ("p11-kit", "BSD-3-Clause"), "libffi": ("libffi", "MIT"), "libhdf5": ("HDF5", "BSD-3-Clause"), "libaec": ("libaec", "BSD-2-Clause"),
    "libsz": ("libaec", "BSD-2-Clause"), "libvmaf": ("VMAF", "BSD-2-Clause-Patent"), "libdrm": ("libdrm", "MIT"), "libva": ("libva", "MIT"), "libvpl": ("libvpl", "MIT"), "libasound": ("ALSA", "LGPL-2.1-or-later"), "libsodium": ("libsodium", "ISC"), "libcuda": ("CUDA", "NVIDIA's terms")}

def plain(name): return re.sub(r"[-_.]+", "-", name).lower()

def licence(d):
    "What the metadata say, in one line."
    m = d.metadata
    if m.get("License-Expression"): return m["License-Expression"]
    classes = [c.rpartition(" :: ")[2] for c in m.get_all("Classifier") or () if c.startswith("License ::")]
    text = (m.get("License") or "").strip()
    if classes and classes != ["OSI Approved"]: return "; ".join(c.replace(" License", "") for c in classes)
    if text and len(text.splitlines()) == 1 and len(text) < 80: return text
    for f in d.files or ():
        if re.search(r"licen[cs]e|copying", f.name, re.I) and "dist-info" in str(f):
            try: head = " ".join(Path(d.locate_file(f)).read_text(encoding="utf-8", errors="replace").split())[:3000]
            except OSError: continue
            for words, name in (("Apache License", "Apache-2.0"), ("MIT License", "MIT"), ("Permission is hereby granted, free of charge", "MIT"), ("BSD 3-Clause", "BSD-3-Clause"), ("Redistribution and use in source and binary", "BSD"), ("NVIDIA", "NVIDIA's terms"), ("Mozilla Public License", "MPL-2.0"), ("GNU LESSER", "LGPL")):
                if words in head: return f"{name} (from its licence file)"
    return "NVIDIA's terms" if d.metadata["Name"].startswith(("cuda-", "nvidia-")) else "not said in its metadata"

def wanted(root="valor_lab"):
    "`{name: distribution}` of everything that the requirements lead to in this environment."
    from packaging.requirements import Requirement
    found, todo = {}, [(root, {"all", "dev"})]
    seen = set()
    while todo:
        name, extras = todo.pop()
        key = (plain(name), frozenset(extras))
        if key in seen: continue
        seen.add(key)
        try: d = md.distribution(name)
        except md.PackageNotFoundError: continue
        found[plain(name)] = d
        for r in map(Requirement, d.requires or ()):
            if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras or {""}) or r.marker.evaluate({"extra": ""}): todo.append((r.name, set(r.extras)))
    found.pop(plain(root), None)
    return found

def inside(d):
    "Libraries in C that lie in a wheel's folders of their own, and what is known of their licences: `{(what, licence): [file names]}`."
    out = defaultdict(list)
    for f in d.files or ():
        if re.search(r"\.libs/|\.dylibs/|/lib/lib[^/]*\.so", str(f)) and ".so" in f.name and not f.name.startswith(("libtorch", "libc10", "libcu", "libnv", "libshm", "libcaffe2", "libtriton", "libcheckpoint", "libpcsampling", "libnccl")):
            known = next((v for k, v in sorted(BUNDLED.items(), key=lambda kv: -len(kv[0])) if f.name.startswith(k)), None)
            out[known or (re.split(r"[-.]", f.name)[0], "not looked up")].append(f.name)
    return out

def page():
    there = wanted()
    lines = ["# Licences", "", "valor_lab itself: Apache-2.0. Below is what an installation with every extra (`.[all,dev]`) brings on Linux, from the packages' own metadata; written by `docs/tools/licences.py`. "
             "The base install is numpy, pandas, pooch, requests, tqdm, typer, lazy_loader and what these need. Nothing of it lies in our own wheel but the notebooks and two small networks that we trained ourselves. This is a list, no legal advice.", "",
             "## What deserves a second look", "",
             "- **PyAV's wheel brings x264 and x265**, which are under the GPL (2.0 or later), beside an FFmpeg that calls itself LGPL 3 or later: whoever passes that wheel on, for instance in a container, passes on GPL software. PyAV itself is BSD. Without the extra `media` nothing of it is installed; PyAV can be built against an FFmpeg without them.",
             "- **NVIDIA's libraries** (`nvidia-*`) come with PyTorch's usual build and have NVIDIA's terms; the build for processors has none of them.",
             "- **Patents**: H.264, H.265 and AAC are patented in some countries; a licence of the code is none for these.",
             "- **Weights and data** have terms of their own: CLIP, CLAP, LLP's annotations and its YouTube videos, AudioSet. They are not part of this package, and `valor fetch` says where each comes from.", "",
             "## Packages", "", "| package | version | licence | libraries inside its wheel |", "|---|---|---|---|"]
    clean = lambda s: " ".join(s.split()).replace("|", "/")
    for name, d in sorted(there.items()):
        libs = "; ".join(f"{what} ({terms})" for (what, terms), files in sorted(inside(d).items()))
        lines.append(f"| {d.metadata['Name']} | {d.version} | {clean(licence(d))} | {clean(libs)} |")
    return "\n".join([*lines, ""])

def main():
    if "--check" in sys.argv[1:]:
        listed = {plain(n) for n in re.findall(r"^\| ([\w.-]+) \| [^|]+\|", (ROOT/"docs"/"licences.md").read_text(encoding="utf-8"), re.M)}
        gone = sorted(set(wanted()) - listed)
        print(f"docs/licences.md lacks {', '.join(gone)}" if gone else f"{len(listed) - 1} packages are listed")
        sys.exit(bool(gone))
    sys.stdout.write(page())

if __name__ == "__main__": main()
