#!/usr/bin/env python3
"""bench_reports.py {FILE [WANT]...}...: each report of `ember bench` is well-formed, and holds what is wanted.

  FILE.json  one JSON object; WANT is PATH=VALUE, the path made of names and indexes with dots between
  FILE.html  a page that stands alone: tags that match, no script and no other file, plots whose points lie
             within their box; WANT is text=TEXT, a text that stands in it
"""
import html.parser, json, re, sys


def at(value, path):
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def no_constant(name):
    raise ValueError(f"{name} is no JSON")


def check_json(name, wants):
    with open(name, encoding="utf-8") as f:
        document = json.load(f, parse_constant=no_constant)
    for want in wants:
        path, _, value = want.partition("=")
        got = at(document, path)
        if str(got) != value:
            sys.exit(f"{name}: {path} is {got!r}, want {value}")


class Page(html.parser.HTMLParser):
    VOID = {"meta", "br"}

    def __init__(self, name):
        super().__init__()
        self.name, self.open, self.texts, self.plots, self.tables = name, [], [], 0, 0

    def fail(self, text):
        sys.exit(f"{self.name}:{self.getpos()[0]}: {text}")

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag in ("script", "link", "img", "iframe", "object", "b"):
            self.fail(f"<{tag}>")
        for name, value in attrs.items():
            if name in ("src", "href", "style") or name.startswith("on"):
                self.fail(f"{name}={value}")
        if tag == "polyline":
            points = [tuple(map(float, p.split(","))) for p in attrs["points"].split()]
            if not points or not all(0 <= x <= self.width and 0 <= y <= self.height for x, y in points):
                self.fail(f"points {attrs['points']}")
        if tag == "svg":
            self.plots += 1
            self.width, self.height = map(float, attrs["viewbox"].split()[2:])
        self.tables += tag == "table"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.fail(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)
        elif "url(" in data or "@import" in data:
            self.fail("the style loads something")


def check_html(name, wants):
    page = Page(name)
    with open(name, encoding="utf-8") as f:
        text = f.read()
    page.feed(text)
    page.close()
    if page.open or not text.startswith("<!DOCTYPE html>") or not text.endswith("</html>\n"):
        sys.exit(f"{name}: not a whole page: {page.open}")
    if page.plots < 3 or page.tables < 2 or re.search(r"\b(nan|inf)\b", " ".join(page.texts)):
        sys.exit(f"{name}: {page.plots} plots, {page.tables} tables, or a number that is none")
    if "prefers-color-scheme" not in text:
        sys.exit(f"{name}: no dark colours")
    for want in wants:
        if want.partition("=")[2] not in page.texts:
            sys.exit(f"{name}: no {want}")


reports = []
for word in sys.argv[1:]:
    if word.endswith((".html", ".json")) and "=" not in word:
        reports.append((word, []))
    else:
        reports[-1][1].append(word)
for report, report_wants in reports:
    (check_html if report.endswith(".html") else check_json)(report, report_wants)
