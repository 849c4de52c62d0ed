"""extract.py - text pairs out of the files that Debian packages carry. Pure: bytes in, tuples out.

    from_file(path, data)  ->  (kind, a, b) ...      one file of a package, chosen by its name
    Docs.add(...) / pairs()  ->  the same             manuals, whose English and Chinese files must meet
    clean_pair(en, zh)     ->  the two texts without markup, or None when they are not worth learning

Chinese is always simplified (zh_CN): zh_TW files are never opened.
"""
import bz2
import difflib
import gettext
import gzip
import html
import io
import re
import struct
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

MAX_CHARS = 400
HAN = re.compile(r"[\u3400-\u9fff]")
KANA = re.compile(r"[\u3040-\u30ff\uac00-\ud7af]")
PLACEHOLDER = re.compile(r"%(?:\d+\$)?[-+ #0']*\d*(?:\.\d+)?(?:hh|h|ll|l|z|j)?[sdiufgxXcpe@](?![a-z])|%L?\d+|"
                         r"%[\[(]\w+[\])]s?|\$?\{[^{}]*\}|\$\w+|\[VAR\w+\]|%\w+%")
# ---------------------------------------------------------------- cleaning


def clean(text, chinese=False):
    """One line of plain text: no tags, entities, accelerators, placeholders or hanging punctuation."""
    text = re.sub(r"\x1b\[[\d;]*m|.\x08", "", text)
    text = re.sub(r"^\s*-[^\n]*?\s{2,}", "", text)                    # "  -a, --all   do ..."
    text = re.sub(r"<br\s*/?>", "\n", text)
    text = html.unescape(re.sub(r"</?[A-Za-z!][^<>]*>", "", text))
    text = re.sub(r"\s*[((][&_~]?[A-Za-z0-9][))](?=\W*$)", "", text) if chinese else text
    text = re.sub(r"[&~](?=\w)", "", text)
    text = re.sub(r"(?<![\w/.-])_(?=[A-Za-z])|(?<=[A-Za-z])_(?=[a-z]+\b(?!_))", "", text) \
        if text.count("_") == 1 else text
    text = PLACEHOLDER.sub(" ", text)
    text = re.sub(r"""["'“”‘’「『«(（<]\s*["'“”‘’」』»)）>]""", " ", text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r" +(?=[.,;!?。，；！？])", "", text)
    if chinese:
        text = re.sub(r"(?<=[\u3000-\u9fff\uff00-\uffef]) (?=[\u3000-\u9fff\uff00-\uffef])", "", text)
    return text.strip(" \t:：…*#=|-–—•").removesuffix("...").strip()


def is_english(text):
    letters = sum(c.isascii() and (c.isalpha() or c == " ") for c in text)
    return len(text) <= MAX_CHARS and letters >= 0.8 * len(text) > 0 and not HAN.search(text)


def is_chinese(text):
    han = "".join(HAN.findall(text))
    simplified = len(han.encode("gb2312", "ignore")) // 2              # traditional text mostly fails this
    return 2 <= len(text) <= MAX_CHARS and not KANA.search(text) and \
        len(han) >= max(2, 0.35 * len(text)) and simplified >= 0.9 * len(han)


def clean_pair(en, zh):
    if len(PLACEHOLDER.findall(en)) > 1 or len(PLACEHOLDER.findall(zh)) > 1:
        return None
    if len(re.findall(r"\n\s{2,}\S", en)) > 2:                          # tables and option lists
        return None
    en, zh = clean(en), clean(zh, True)
    if re.search(r"(?<!\d)(?<!\d )%", en + zh):               # odd placeholders, as gcc's %<
        return None
    if not is_english(en) or not is_chinese(zh) or not re.search("[A-Za-z]{2}", en):
        return None
    if len(en) > 30 and not 0.1 < len(zh) / len(en) < 1.1:            # one of the two says more
        return None
    return en, zh


def sentences(text, chinese=None):
    if chinese if chinese is not None else HAN.search(text):
        return [s for s in re.findall(r"[^。！？]+[。！？]+[”」』）]*|[^。！？]+$", text) if s.strip()]
    return [s for s in re.split(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<! \w\.)\s+(?=[\"“(A-Z])", text) if s]


def translation(en, zh):
    """The pairs in one translated message: whole, by paragraph, by sentence, whatever fits and lines up."""
    en_parts, zh_parts = (re.split(r"\n\s*\n", t.strip()) for t in (en, zh))
    if len(en_parts) != len(zh_parts):
        en_parts, zh_parts = [en], [zh]
    for e, z in zip(en_parts, zh_parts):
        if len(e) <= MAX_CHARS:
            pair = clean_pair(e, z)
            if pair:
                yield ("translation", *pair)
        if len(e) > 120:
            e, z = sentences(re.sub(r"\s+", " ", e), False), sentences(re.sub(r"\s+", " ", z), True)
            if len(e) == len(z) > 1:
                for pair in filter(None, map(clean_pair, e, z)):
                    yield ("translation", *pair)
            yield from neighbours(e)
            yield from neighbours(z)


def prose(text, least=25):
    """`text` cleaned and cut after the last sentence that fits, or None when it is not running text."""
    chinese = bool(HAN.search(text))
    text = clean(text, chinese)
    if len(text) > MAX_CHARS:
        kept = ""
        for s in sentences(text, chinese):
            if len(kept) + len(s) >= MAX_CHARS:
                break
            kept += s if chinese else s + " "
        text = kept.strip()
    if chinese:
        return text if len(text) >= least // 3 and is_chinese(text) else None
    return text if len(text) >= least and is_english(text) and len(text.split()) > 3 else None


def neighbours(texts):
    texts = [prose(t) for t in texts]
    for a, b in zip(texts, texts[1:]):
        if a and b and a != b:
            yield "neighbour", a, b


def title(head, body, least=25):
    chinese = bool(HAN.search(head))
    head, body = clean(head, chinese), prose(body, least)
    if body and head and head != body and chinese == bool(HAN.search(body)) and \
            (is_chinese(head) if chinese else is_english(head)):
        yield "title", head, body


# ---------------------------------------------------------------- translated messages


def from_mo(data):
    for en, zh in gettext.GNUTranslations(io.BytesIO(data))._catalog.items():
        en = en[0] if isinstance(en, tuple) else en
        en = re.sub(r"^[^ ^]{1,30}(?: [^ ^]+)?\^", "", en.split("\4")[-1])  # context\4text, Wesnoth's context^text
        if en:
            yield from translation(en, re.sub(r"^[^ ^]{1,30}\^", "", zh))


def from_qm(data):
    """Qt: 16 bytes of magic, then blocks (tag, size); block 0x69 holds messages as (tag, size, text)."""
    at = 16
    while at + 5 <= len(data):
        tag, size = struct.unpack_from(">BI", data, at)
        if tag == 0x69:
            block, at, source, target = data[at + 5:at + 5 + size], 0, None, None
            while at < len(block):
                tag, size = block[at], 0
                if tag in (2, 3, 4, 6, 7, 8):
                    size = struct.unpack_from(">I", block, at + 1)[0]
                    size = 0 if size == 0xffffffff else size
                    text = block[at + 5:at + 5 + size]
                    source = text.decode("utf-8", "replace") if tag == 6 else source
                    target = text.decode("utf-16-be", "replace") if tag == 3 and target is None else target
                    at += 4 + size
                elif tag == 5:
                    at += 4
                elif tag == 1:
                    if source and target:
                        yield from translation(source, target)
                    source = target = None
                at += 1
            return
        at += 5 + size


def from_desktop(data):
    last = {}
    for line in data.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        name = key.strip().removesuffix("[zh_CN]")
        if key.strip().endswith("[zh_CN]") and name in last:
            yield from translation(last[name], value)
        elif "[" not in key:
            last[name] = value


def from_metainfo(data):
    for parent in ET.fromstring(data).iter():
        last = {}
        for child in parent:
            lang = child.get("{http://www.w3.org/XML/1998/namespace}lang")
            text = " ".join("".join(child.itertext()).split())
            if lang is None:
                last[child.tag] = text
            elif lang.lower().replace("_", "-") in ("zh-cn", "zh-hans-cn", "zh-hans") and child.tag in last:
                yield from translation(last[child.tag], text)


def from_debconf(data):
    for stanza in data.decode("utf-8", "replace").split("\n\n"):
        texts = {m[1] or "en": re.sub(r"\n \.?", "\n", m[2]) for m in
                 re.finditer(r"^Description(?:-([\w.-]+))?: ((?:.*)(?:\n .*)*)", stanza, re.M)}
        en, zh = texts.get("en"), texts.get("zh_CN.UTF-8")
        if en and zh:
            yield from translation(*(t.replace("\n", "\n\n", 1) for t in (en, zh)))


# ---------------------------------------------------------------- dictionaries and collections


def from_wordnet(data):
    """dict/data.*: synonyms, hypernyms, word -> gloss, gloss -> example."""
    words, hypers = {}, []
    for line in data.decode("latin-1").splitlines():
        if line.startswith("  "):
            continue
        facts, _, gloss = line.partition(" | ")
        field = facts.split(" ")
        count = int(field[3], 16)
        names = [re.sub(r"\(\w+\)$", "", w).replace("_", " ") for w in field[4:4 + 2 * count:2]]
        words[field[0]] = names
        pointers = field[5 + 2 * count:]
        hypers += [(field[0], pointers[i + 1]) for i, p in enumerate(pointers) if p == "@"]
        for i, a in enumerate(names):
            yield from (("synonym", a, b) for b in names[i + 1:] if a.lower() != b.lower())
        examples = [e.strip() for e in re.findall(r'"([^"]+)"', gloss)]
        gloss = re.sub(r'[;,]?\s*"[^"]*".*$', "", gloss).strip(" :;,")
        if len(gloss) > 8:
            yield "title", ", ".join(names[:3]), gloss
            yield from (("title", gloss, e) for e in examples if len(e.split()) > 3)
    for low, high in hypers:
        if low in words and high in words:
            yield "hypernym", words[low][0], words[high][0]


def from_gcide(data):
    text = gzip.decompress(data).decode("utf-8", "replace")
    for entry in re.split(r"\n(?=\S)", text):
        head = re.match(r"([A-Z][\w' -]+?) (?:\(.*?\) )?\\", entry)
        if not head:
            continue
        body = re.sub(r"\[[^\[\]]*\]", "", re.sub(r"\[[^\[\]]*\]", "", entry[head.end():]))
        body = re.sub(r"\{|\}|--\s?[A-Z][\w.]+( \([^)]*\))?\.?", "", body.partition("\n")[2])
        senses = [" ".join(p.split()) for p in re.split(r"\n\s*\n", body) if re.match(r"   (?! {3})", p)]
        for sense in [s for s in senses if not re.match(r"Syn|See|Same as|.*[\[\]?]", s)][:2]:
            sense = re.sub(r"^(\d+\.|\([a-z]\))\s*(\([A-Z]\w*\.?\)\s*)?|\s*--\s*$", "", sense)
            yield from title(head[1].lower(), sense.split(" as, ")[0].rstrip(" ;,"), 15)


def from_foldoc(data):
    text = gzip.decompress(data).decode("utf-8", "replace")
    for head, body in re.findall(r"\n(\S.{1,60})\n\n((?:   .*\n|\n)+)", text):
        paras = [re.sub(r"<[\w, -]+>|/[^/\s]+/|[{}]|\([^)]*\d{4}-\d\d-\d\d\)", "", p) for p in body.split("\n\n")]
        yield from title(head, paras[0])
        yield from neighbours(paras)


def from_unihan(data):
    for line in bz2.decompress(data).decode().splitlines():
        if "\tkDefinition\t" in line:
            code, _, meaning = line.split("\t")
            meaning = re.sub(r"\([^)]*\)|\b[A-Z]+\d+\b", "", meaning).strip(" ,;")
            if 2 < len(meaning) < 120 and len(code) == 6 and not HAN.search(meaning) and \
                    chr(int(code[2:], 16)).encode("gb2312", "ignore"):
                yield "translation", meaning, chr(int(code[2:], 16))


def from_fortunes(data):
    for saying in data.decode("utf-8", "replace").split("\n%\n"):
        saying = re.split(r"\n\s*(?:--|——|\x1b\[\d+m\s+--)", saying)[0]
        saying = re.sub(r"《[^》\n]*》\s*作者[：:].*\n", "", saying)
        yield from neighbours(sentences(re.sub(r"\s+", "" if HAN.search(saying) else " ", saying)))


# ---------------------------------------------------------------- manuals


class Blocks(HTMLParser):
    """HTML, Mallard and DocBook as a list of (tag, id, text): headings are "h", the rest keep their tag."""
    HEADS = {"h1", "h2", "h3", "h4", "h5", "h6", "title"}
    TEXTS = {"p", "li", "dt", "dd", "td", "th", "para", "desc", "item", "entry", "div"}
    SKIP = {"script", "style", "pre", "nav", "screen", "credit", "revision", "programlisting", "footer", "header",
            "head", "svg", "license"}

    def __init__(self, data):
        super().__init__()
        self.out, self.now, self.skip = [], None, 0
        self.feed(data.decode("utf-8", "replace"))

    def handle_starttag(self, tag, attrs):
        if tag in self.SKIP:
            self.skip += 1
        elif tag in self.HEADS or tag in self.TEXTS:
            self.now = ["h" if tag in self.HEADS else tag, dict(attrs).get("id") or "", ""]
            if not self.skip:
                self.out.append(self.now)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag in self.SKIP:
            self.skip = max(0, self.skip - 1)
        elif tag in self.HEADS or tag in self.TEXTS:
            self.now = None

    def handle_data(self, data):
        if self.now is not None and not self.skip:
            self.now[2] += data

    def blocks(self):
        return [(t, i, " ".join(x.split())) for t, i, x in self.out if x.strip()]


def from_man(data):
    """(one-line description, paragraphs of DESCRIPTION) of a roff page."""
    text = gzip.decompress(data).decode("utf-8", "replace")
    text = re.sub(r'^[.\']\s*\\".*\n', "", text, flags=re.M)
    text = re.sub(r"\\f(\[\w*\]|\(..|.)|\\&|\\[/,|^]|\\s[-+]?\d", "", text).replace("\\-", "-")
    text = re.sub(r"\\\((?:lq|rq|dq)|\\\(aq", '"', text).replace("\\(em", " - ").replace("\\ ", " ")
    parts = dict((h.strip('" ').upper(), b) for h, b in re.findall(r'^\.S[Hh]\s+(.+)\n((?:(?!\.S[Hh]).*\n)*)', text, re.M))
    name = re.sub(r"^\.\w+ ?", "", parts.get("NAME") or parts.get("名称") or parts.get("名字") or "", flags=re.M)
    name = re.split(r"\s-+\s", name, maxsplit=1)
    body = re.sub(r"^\.(?:B|I|BR|IR|RB|BI|IB|RI|Nm|Fl|Ar|Pa|Xr) (.*)", lambda m: m[1].replace('"', ""),
                  parts.get("DESCRIPTION") or parts.get("描述") or parts.get("说明") or "", flags=re.M)
    paras = [p for p in re.split(r"\n\s*\n|^\.(?:PP|P|LP|Pp|sp|TP|IP).*\n", body, flags=re.M)
             if p.strip() and not re.search(r"^\.|\\", p, re.M)]
    return " ".join(name[1].split()) if len(name) == 2 else "", paras


class Docs:
    """Manual files wait here until their other language has come; the key is the path without language names."""
    LANG = re.compile(r"[-_./](?:(zh[-_]cn|zh_hans(?:_cn)?)|en-us|en|C)(?=[-_./])", re.I)

    def __init__(self):
        self.files = {}

    def add(self, src, path, data):
        lang = "zh" if re.search(r"zh[-_](cn|hans)", path, re.I) else "en"
        man = re.search(r"/man/(?:zh_CN/)?(man\d/[^/]+)\.gz$", path)
        key = man[1] if man else self.LANG.sub("", path)
        body = from_man(data) if man else Blocks(data).blocks()
        self.files.setdefault(key, {})[lang] = (src, body)

    def pairs(self):
        for key, found in sorted(self.files.items()):
            for src, body in found.values():
                for pair in (self.man(*body) if isinstance(body, tuple) else self.running(body)):
                    yield (src, *pair)
            if len(found) == 2:
                (_, en), (src, zh) = found["en"], found["zh"]
                lines = [(en[0], zh[0])] if isinstance(en, tuple) else self.align(en, zh)
                for a, b in lines:
                    for pair in translation(a, b):
                        yield (src, *pair)

    @staticmethod
    def man(name, paras):
        if name and paras:
            yield from title(name, paras[0])
        yield from neighbours(paras)

    @staticmethod
    def running(blocks):
        for (tag, _, a), (next_tag, _, b) in zip(blocks, blocks[1:]):
            if tag == "h" and next_tag in ("p", "para", "div"):
                yield from title(a, b)
            elif tag == next_tag and tag in ("p", "para"):
                yield from neighbours([a, b])

    @staticmethod
    def align(en, zh):
        """By paragraph id where there are ids, else section by section where the tags agree one for one."""
        ids = {i: t for _, i, t in en if re.match(r"par_id|hd_id|tit", i)}
        if len(ids) > 2:
            return [(ids[i], t) for _, i, t in zh if i in ids]
        parts = [[], []]
        for part, blocks in zip(parts, (en, zh)):
            for block in blocks:
                if block[0] == "h" or not part:
                    part.append([])
                part[-1].append(block)
        shape = [["".join(f"{t}," for t, _, _ in s) for s in part] for part in parts]
        out = []
        for op, i0, i1, j0, j1 in difflib.SequenceMatcher(None, *shape, autojunk=False).get_opcodes():
            if op == "equal" and len(parts[0]) == len(parts[1]) and i0 == j0:
                for a, b in zip(sum(parts[0][i0:i1], []), sum(parts[1][j0:j1], [])):
                    out.append((a[2], b[2]))
        return out


# ---------------------------------------------------------------- which file is read how

ZH = r"/zh_(?:CN|Hans|Hans_CN)(?:\.UTF-8)?/"
READERS = [(re.compile(p), f) for p, f in (
    (ZH + r".*\.mo$|[-_]zh_CN\.mo$", from_mo), (r"[-_./]zh_CN\.qm$|" + ZH + r".*\.qm$", from_qm),
    (r"\.(desktop|notifyrc|directory)$", from_desktop), (r"\.(metainfo|appdata)\.xml$", from_metainfo),
    (r"/wordnet/data\.(noun|verb|adj|adv)$", from_wordnet), (r"/gcide\.dict\.dz$", from_gcide),
    (r"/(foldoc|jargon)\.dict\.dz$", from_foldoc), (r"Unihan_Readings\.txt\.bz2$", from_unihan),
    (r"/games/fortunes/[\w-]+$", from_fortunes))]
DOC = re.compile(r"/help/(?:C|zh_CN)/.*\.page$|/help/(?:en-US|zh-CN|en|zh_CN)/.*\.html$|"
                 r"/html/(?:en-US|zh-CN)/.*\.html$|amd64/(?:en|zh_CN)/.*\.html$|"
                 r"\.(?:en|zh-cn)\.html$|edu-doc-(?:en|zh-cn)/[^/]*\.html$|/man/(?:zh_CN/)?man\d/[^/]+\.gz$")


def reader(path):
    return next((f for p, f in READERS if p.search(path)), None)
