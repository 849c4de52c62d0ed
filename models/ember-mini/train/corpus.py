#!/usr/bin/python3
"""corpus.py - the training text of ember-mini, taken from Debian packages.

    packages.tsv --apt-get download--> DIR/debs --extract.py--> DIR/pairs.jsonl, DIR/sources.tsv

Nothing is installed and no root is needed: apt works with a private state below DIR and the sources this
machine already has. Packages are read as tar streams, never unpacked to disk. The same package versions
give the same pairs.jsonl, byte for byte.
"""
import argparse
import collections
import glob
import json
import os
import re
import subprocess
import sys
import tarfile

import extract

HERE = os.path.dirname(os.path.abspath(__file__))
EPILOG = """output, one object a line:
  {"a": text, "b": text, "kind": K, "src": package}
kinds:
  translation  a is English, b its Chinese (simplified)
  title        a is a title, summary, word or gloss, b the text it stands for; both in one language
  synonym      two names of one WordNet meaning
  hypernym     a is a kind of b (WordNet)
  neighbour    two consecutive sentences or paragraphs; both in one language

A package that the sources no longer have is reported and left out."""


class Apt:
    """apt-get with its own lists and cache below `work`."""

    def __init__(self, work):
        self.lists, self.debs = os.path.join(work, "lists"), os.path.join(work, "debs")
        cache = os.path.join(work, "cache")
        self.partial = os.path.join(self.debs, "partial")
        for d in (self.lists + "/partial", cache + "/archives/partial", self.partial):
            os.makedirs(d, exist_ok=True)
        self.options = ["-qq", "-o", "Dir::State::lists=" + self.lists, "-o", "Dir::Cache=" + cache,
                        "-o", "Acquire::Languages=en,zh_CN"]
        if os.geteuid() == 0:
            self.options += ["-o", "APT::Sandbox::User=root"]

    def run(self, *args):
        return subprocess.run(["apt-get", *self.options, *args], cwd=self.partial, check=False).returncode

    def index(self, pattern):
        """The stanzas of every fetched index whose file name matches, as dictionaries."""
        for path in sorted(glob.glob(os.path.join(self.lists, pattern))):
            text = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", path], check=True,
                                  stdout=subprocess.PIPE).stdout.decode("utf-8", "replace")
            for stanza in text.split("\n\n"):
                yield dict(re.findall(r"^([A-Za-z][\w-]*): (.*(?:\n .*)*)", stanza, re.M))

    def fetch(self, packages):
        """package -> path of its .deb; what DIR/debs already has is not asked for again."""
        missing = [p for p in packages if not self.path(p)]
        for i in range(0, len(missing), 20):
            print(f"fetch {i + 1}-{min(i + 20, len(missing))} of {len(missing)}", flush=True)
            batch = missing[i:i + 20]
            if not self.download(batch):
                for package in batch:                      # one unknown name fails its whole batch
                    self.download([package])
        return {p: self.path(p) for p in packages if self.path(p)}

    def download(self, packages):
        """A file moves to DIR/debs when apt is content with all of `packages`: what lies there is whole."""
        if self.run("download", *packages):
            return False
        for path in glob.glob(os.path.join(self.partial, "*.deb")):
            os.replace(path, os.path.join(self.debs, os.path.basename(path)))
        return True

    def path(self, package):
        found = sorted(glob.glob(os.path.join(self.debs, glob.escape(package) + "_*.deb")))
        return found[-1] if found else None


def read_table(path):
    """packages.tsv: licence TAB package names; "#" starts a comment line. -> {package: licence}"""
    table = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                licence, names = line.rstrip("\n").split("\t")
                table.update(dict.fromkeys(names.split(), licence))
    return dict(sorted(table.items()))


def members(deb, part="--fsys-tarfile"):
    """(path, open function) of the plain files in a package, streamed."""
    with subprocess.Popen(["dpkg-deb", part, deb], stdout=subprocess.PIPE) as proc:
        with tarfile.open(fileobj=proc.stdout, mode="r|", bufsize=1 << 20) as tar:
            for member in tar:
                if member.isfile():
                    yield member.name.removeprefix("."), lambda m=member: tar.extractfile(m).read()
        proc.stdout.read()


def from_package(deb, src, docs, errors):
    """The pairs of one package; manuals go to `docs`, which pairs their languages at the end."""
    for path, data in members(deb):
        read = extract.reader(path)
        try:
            if read:
                yield from ((src, *p) for p in read(data()))
            elif extract.DOC.search(path):
                docs.add(src, path, data())
        except Exception as e:                              # one odd file must not end the run
            errors[f"{type(e).__name__} in {src}"] += 1
    for path, data in members(deb, "--ctrl-tarfile"):
        if path == "/templates":
            yield from ((src, *p) for p in extract.from_debconf(data()))


def from_descriptions(apt):
    """Package descriptions: summary -> first paragraph, paragraph -> next, English -> Chinese."""
    def parts(text):
        head, _, body = text.partition("\n")
        paras = [" ".join(p.split()) for p in re.split(r"\n \.(?=\n|$)", "\n" + body)
                 if p.strip() and not re.search(r"\n  ?[*-] |\n  +", p)]
        return head, paras

    chinese = {(d["Package"], d["Description-md5"]): d["Description-zh_CN"]
               for d in apt.index("*i18n_Translation-zh*") if "Description-zh_CN" in d}
    for d in apt.index("*i18n_Translation-en*"):
        if "Description-en" not in d:
            continue
        versions = [parts(d["Description-en"])]
        zh = chinese.get((d["Package"], d["Description-md5"]))
        if zh:
            versions.append(parts(zh))
            (en_head, en), (zh_head, zh) = versions
            for a, b in [(en_head, zh_head)] + (list(zip(en, zh)) if len(en) == len(zh) else []):
                yield from (("apt-descriptions", *p) for p in extract.translation(a, b))
        for head, paras in versions:
            if paras:
                yield from (("apt-descriptions", *p) for p in extract.title(head, paras[0]))
            yield from (("apt-descriptions", *p) for p in extract.neighbours(paras))


def write_atomically(path, lines):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.writelines(lines)
    os.replace(path + ".new", path)


def gather(apt, debs, cap):
    """{(kind, a, b): src}: the first source in the order of reading owns a pair."""
    found, docs, errors = {}, extract.Docs(), collections.Counter()
    seen = collections.Counter()

    def keep(pairs):
        new = 0
        for src, kind, a, b in pairs:
            a, b = a.strip(), b.strip()
            if not a or not b or a == b or (kind, a, b) in found:
                continue
            sides = [(kind, 0, a.lower()), (kind, 1, b.lower())]
            if max(seen[s] for s in sides) >= cap:          # "Open file" has a hundred translations
                continue
            seen.update(sides)
            found[kind, a, b] = src
            new += 1
        return new

    print(f"{keep(from_descriptions(apt)):8} apt-descriptions", flush=True)
    for package, deb in debs.items():
        print(f"{keep(from_package(deb, package, docs, errors)):8} {package}", flush=True)
    print(f"{keep(docs.pairs()):8} manuals", flush=True)
    for what, count in sorted(errors.items()):
        print(f"skipped {count} files: {what}", file=sys.stderr)
    return found


def report(found):
    """Counts per source and kind, and how many translations are longer than six English words."""
    table = collections.defaultdict(collections.Counter)
    for (kind, a, _), src in found.items():
        for row in (src, "total"):
            table[row][kind] += 1
            table[row]["long"] += kind == "translation" and len(a.split()) > 6
    kinds = ["translation", "long", "title", "synonym", "hypernym", "neighbour"]
    print(f"{'src':34}" + "".join(f"{k:>12}" for k in kinds))
    for src in sorted(table, key=lambda s: (s == "total", s)):
        print(f"{src:34}" + "".join(f"{table[src][k]:12}" for k in kinds))


def main():
    parser = argparse.ArgumentParser(description=__doc__.strip(), epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", metavar="DIR", required=True, help="folder for indexes, packages and results")
    parser.add_argument("--table", metavar="FILE", default=os.path.join(HERE, "packages.tsv"),
                        help="packages and their licences (default: packages.tsv beside this script)")
    parser.add_argument("--only", metavar="REGEX", help="read only the packages whose whole name matches")
    parser.add_argument("--cap", type=int, default=3, metavar="N",
                        help="at most N pairs of one kind with the same a or the same b, case ignored (default: 3)")
    parser.add_argument("--offline", action="store_true", help="use what DIR already holds, fetch nothing")
    args = parser.parse_args()

    work = os.path.abspath(args.work)
    table = {p: licence for p, licence in read_table(args.table).items()
             if not args.only or re.fullmatch(args.only, p)}
    apt = Apt(work)
    if args.offline:
        debs = {p: apt.path(p) for p in table if apt.path(p)}
    else:
        if apt.run("update"):
            return "apt-get update failed"
        debs = apt.fetch(table)
    for package in sorted(set(table) - set(debs)):
        print("not available: " + package, file=sys.stderr)

    found = gather(apt, debs, args.cap)
    write_atomically(os.path.join(work, "pairs.jsonl"),
                     (json.dumps({"a": a, "b": b, "kind": kind, "src": src}, ensure_ascii=False) + "\n"
                      for (kind, a, b), src in sorted(found.items())))
    used = set(found.values())
    rows = [f"{p}\t{os.path.basename(d).split('_')[1].replace('%3a', ':')}\t{table[p]}\n"
            for p, d in debs.items() if p in used]
    write_atomically(os.path.join(work, "sources.tsv"), ["package\tversion\tlicence\n"] + rows)
    report(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
