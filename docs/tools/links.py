"""Does every link of the site lead somewhere? Pages, anchors, pictures, scripts, styles, all on the disk; and nothing is loaded from elsewhere.

    python docs/tools/links.py site"""
import re, sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

class Page(HTMLParser):
    "The anchors of a page, where it leads, and what it loads."
    def __init__(self):
        super().__init__()
        self.ids, self.leads, self.loads = set(), [], []
    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        self.ids |= {a[k] for k in ("id", "name") if a.get(k)}
        if tag == "a" and a.get("href"): self.leads.append(a["href"])
        if tag == "link" and a.get("href") and a.get("rel") not in ("canonical", "license"): self.loads.append(a["href"])
        for k in ("src", "poster", "data"):
            if tag in ("img", "script", "iframe", "video", "audio", "source", "object", "embed") and a.get(k): self.loads.append(a[k])
        self.loads += [x.strip().split()[0] for x in (a.get("srcset") or "").split(",") if x.strip()]
        self.loads += re.findall(r"url\(['\"]?([^'\")]+)", a.get("style") or "")

@cache
def page(path):
    p = Page()
    p.feed(path.read_text(encoding="utf-8"))
    return p

def faults(site):
    "A line for each link without an end, and for each thing that a page would fetch from elsewhere."
    site = Path(site).resolve()
    for path in sorted(site.rglob("*.html")):
        where = path.relative_to(site)
        for link in page(path).loads:
            if urlsplit(link).scheme in ("http", "https") or link.startswith("//"): yield f"{where} loads {link}"
        for link in [*page(path).leads, *page(path).loads]:
            u = urlsplit(link)
            if u.scheme or u.netloc: continue
            target = path if not u.path else (path.parent/unquote(u.path)).resolve()
            if target.is_dir(): target = target/"index.html"
            if not target.is_relative_to(site) or not target.is_file(): yield f"{where} leads to {link}, which is not there"
            elif u.fragment and target.suffix == ".html" and unquote(u.fragment) not in page(target).ids and link not in ("#", "#top"): yield f"{where} leads to {link}; that page has no such place"
    for path in sorted(site.rglob("*.css")):
        for link in re.findall(r"(?:url\(|@import )['\"]?((?:https?:)?//[^'\")]+)", path.read_text(encoding="utf-8", errors="replace")): yield f"{path.relative_to(site)} loads {link}"

def clicks(site, start="index.html"):
    "How many clicks each place of the site is away: `{(page, anchor): n}`; the anchor is empty for a page as a whole."
    site, away, edge = Path(site).resolve(), {}, [start]
    away[(start, "")] = 0
    for n in range(1, 6):
        new = []
        for name in edge:
            path = site/name
            for link in page(path).leads:
                u = urlsplit(link)
                if u.scheme or u.netloc or not u.path.endswith(".html") and u.path: continue
                target = path if not u.path else (path.parent/unquote(u.path)).resolve()
                if not target.is_file(): continue
                to = str(target.relative_to(site))
                for place in {(to, ""), (to, unquote(u.fragment))}:
                    if place not in away:
                        away[place] = n
                        if not place[1]: new.append(to)
        edge = new
    return away

if __name__ == "__main__":
    found = list(faults(sys.argv[1]))
    for f in found: print(f)
    print(f"{len(found)} faults")
    sys.exit(bool(found))
