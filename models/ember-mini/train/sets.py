"""The reference texts, divided: what is trained on, and what is only asked.

Sets that come as train and development files keep that division. Of the others a fifth of the texts (by a hash
of the text, so that it never changes) is kept for questions, and of CMRC whole paragraphs.
"""

import hashlib
import json
import os
import sys

TOPICS_ZH = {"science/technology": "科学技术", "travel": "旅游", "politics": "政治", "sports": "体育", "health": "健康",
             "entertainment": "娱乐", "geography": "地理"}


def rows(folder, name):
    path = os.path.join(folder, name + ".jsonl")
    if not os.path.exists(path):
        sys.exit("no %s: --texts (or EMBER_REFERENCE_DIR/text) is the folder of the reference texts" % path)
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def is_asked(text, parts=5):
    return int(hashlib.md5(text.encode()).hexdigest()[:8], 16) % parts == 0


def labelled(folder, name, asked_name=None):
    """(trained, asked), each a list of (text, label)."""
    mine = [(r["text"], r["label"]) for r in rows(folder, name)]
    if asked_name:
        return mine, [(r["text"], r["label"]) for r in rows(folder, asked_name)]
    return [r for r in mine if not is_asked(r[0])], [r for r in mine if is_asked(r[0])]


def intents(folder):
    """Sets with many classes: name -> (trained, asked)."""
    clinc = labelled(folder, "clinc150-train", "clinc150-val")
    return {
        "banking77": labelled(folder, "banking77-train"),
        "clinc150": tuple([r for r in part if r[1] != "oos"] for part in clinc),
        "snips": labelled(folder, "snips-train"),
        "bitext": labelled(folder, "bitext-cs-train", "bitext-cs-dev"),
    }


def zero_shot(folder):
    """Sets scored by the words of their labels: name -> (trained, asked), labels in the texts' language."""
    out = {}
    for language in ("en", "zh"):
        train, dev = labelled(folder, "sib200-%s-train" % language, "sib200-%s-dev" % language)
        name = TOPICS_ZH.get if language == "zh" else str
        out["sib200-" + language] = tuple([(t, name(l)) for t, l in part] for part in (train, dev))
    out["cs-zh"] = labelled(folder, "cs-zh-train")
    return out


def sts(folder, language, part):
    return [(r["a"], r["b"], float(r["score"])) for r in rows(folder, "stsb-%s-%s" % (language, part))]


def translations(folder, part):
    """Topics' sentences in both languages, (en, zh)."""
    zh = {r["id"]: r["text"] for r in rows(folder, "sib200-zh-" + part)}
    return [(r["text"], zh[r["id"]]) for r in rows(folder, "sib200-en-" + part) if r["id"] in zh]


def questions(folder):
    """CMRC: (trained, asked), each a list of (question, paragraph)."""
    all_rows = rows(folder, "cmrc2018-retrieval-a")
    pair = lambda r: (r["query"], r["context"])
    return ([pair(r) for r in all_rows if not is_asked(r["context"], 3)],
            [pair(r) for r in all_rows if is_asked(r["context"], 3)])
