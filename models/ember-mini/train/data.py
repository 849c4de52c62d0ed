#!/usr/bin/python3
"""From texts to what training reads: a vocabulary, every text as ids, and pools of pairs.

Writes vocab.txt and data.npz into the work folder. A pool is an array of text numbers; what its columns mean is
said where it is made. Only the trained part of the reference texts (sets.py) is read.
"""

import argparse
import difflib
import json
import os
import random
import re
import time

import numpy

import letters
import sets
import wordpiece

# Labels in words, for zero-shot: what a person would write, in both languages.
LABELS = {
    "cs": {"投诉": ("投诉", "complaint"), "咨询": ("咨询", "question", "enquiry"), "建议": ("建议", "suggestion"),
           "表扬": ("表扬", "praise", "compliment"), "报修": ("报修", "repair request"), "退款": ("退款", "refund")},
    "sib": {en: (en, zh) + more for (en, zh), more in zip(sets.TOPICS_ZH.items(), (
        ("science", "technology", "科技", "科学"), ("tourism", "旅行"), ("政府",), ("sport", "运动"), ("medicine", "医疗"),
        ("arts", "文艺"), ("places", "地点")))},
    "kdconv": {"电影": ("电影", "film", "movie"), "音乐": ("音乐", "music"), "旅游": ("旅游", "travel")},
    "crosswoz": {"景点": ("景点", "sights", "旅游"), "酒店": ("酒店", "hotel", "住宿"), "餐馆": ("餐馆", "restaurant", "美食"),
                 "地铁": ("地铁", "underground"), "出租": ("出租车", "taxi")},
}
TEMPLATES_EN = ("{}", "{}", "This text is about {}.", "It is about {}.", "{}.")
TEMPLATES_ZH = ("{}", "{}", "这段话的内容是{}。", "这是关于{}的。", "{}。")


def spoken(label):
    """"AddToPlaylist", "alarm/set_alarm" -> words."""
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", label).replace("_", " ").replace("/", " ").lower().split()
    return " ".join(w for i, w in enumerate(words) if w not in words[:i])


class Texts:
    """Every text once; its number is what pools hold."""

    def __init__(self):
        self.number, self.all = {}, []

    def __call__(self, text):
        text = " ".join(text.split())
        if text not in self.number:
            self.number[text] = len(self.all)
            self.all.append(text)
        return self.number[text]


def aligned(a, b, least=6):
    """Rows of two lists that run in parallel, by their scores: (i, j) of long common runs alone."""
    key = lambda r: (r["genre"], r["score"])
    blocks = difflib.SequenceMatcher(None, [key(r) for r in a], [key(r) for r in b], autojunk=False)
    for block in blocks.get_matching_blocks():
        if block.size >= least:
            for k in range(block.size):
                yield block.a + k, block.b + k


def similarity_pools(folder, text, pools):
    """[a, b] with scores 0..1: people's judgement."""
    pairs, scores = [], []
    for language in ("en", "zh"):
        for a, b, score in sets.sts(folder, language, "train"):
            pairs.append((text(a), text(b)))
            scores.append(score / 5)
    pools["sts"], pools["sts_score"] = pairs, scores
    en, zh = sets.rows(folder, "stsb-en-train"), sets.rows(folder, "stsb-zh-train")
    crossed, scores, same = [], [], []
    for i, j in aligned(en, zh):
        crossed += [(text(en[i]["a"]), text(zh[j]["b"])), (text(zh[j]["a"]), text(en[i]["b"]))]
        scores += [en[i]["score"] / 5] * 2
        same += [(text(en[i][side]), text(zh[j][side])) for side in "ab"]
    pools["sts_cross"], pools["sts_cross_score"] = crossed, scores
    return same


def label_pools(folder, text, pools, seed):
    """[text, class] of every set with labels, classes numbered through; and for zero-shot
    [text, first hypothesis, hypotheses, classes of the set, own class]."""
    classes, of_class, asked = {}, [], []
    hypotheses, where = [], {}

    def add(set_name, part, names=None):
        for t, label in part:
            number = classes.setdefault((set_name, label), len(classes))
            of_class.append((text(t), number))
            if names:
                asked.append((text(t), where[set_name], names.index(label)))

    def know(set_name, labels):
        """labels: name -> ways to say it. A set's hypotheses: every way in every template of its language."""
        ways = []
        for label in labels.values():
            ways.append([text(form.replace("{}", way)) for way in label for form in
                         (TEMPLATES_ZH if any(map(wordpiece.is_cjk, way)) else TEMPLATES_EN)])
        where[set_name] = len(hypotheses)
        hypotheses.append(ways)
        return list(labels)

    for name, (trained, _) in sets.intents(folder).items():
        labels = sorted({l for _, l in trained})
        names = know(name, {l: (spoken(l),) for l in labels})
        add(name, trained, names)
    for language in ("en", "zh"):
        trained, _ = sets.labelled(folder, "sib200-%s-train" % language, "sib200-%s-dev" % language)
        names = know("sib-" + language, LABELS["sib"])
        add("sib-" + language, trained, names)
        rows = [(r["text"], r["label"]) for r in sets.rows(folder, "xsid-%s-valid" % language)]
        add("xsid", rows, know("xsid", {l: (spoken(l),) for l in sorted({l for _, l in rows})}) if language == "en" else None)
    add("cs", sets.labelled(folder, "cs-zh-train")[0] + letters.letters(seed), know("cs", LABELS["cs"]))
    add("kdconv", sets.labelled(folder, "kdconv-dev")[0], know("kdconv", LABELS["kdconv"]))
    rows = [(r["text"], r["domains"][0]) for r in sets.rows(folder, "crosswoz-val") if len(r["domains"]) == 1]
    add("crosswoz", rows, know("crosswoz", LABELS["crosswoz"]))
    pools["class"], pools["asked"] = of_class, asked
    flat, index = [], []  # index: [set, class] -> first and number in flat
    for s, ways in enumerate(hypotheses):
        for c, some in enumerate(ways):
            index.append((s, c, len(flat), len(some)))
            flat += some
    pools["hypothesis"], pools["hypothesis_index"] = flat, index


PARTS = re.compile(r"[。!?！？;；]\s*|[.]\s+|\n")


def piece_of(text, random_, low=0.15, high=0.6):
    """A run of the text's words (Chinese: characters), a part of it."""
    han = sum(map(wordpiece.is_cjk, text)) > len(text) / 3
    units = list(text) if han else text.split()
    n = max(3, int(len(units) * random_.uniform(low, high)))
    if len(units) < n + 2:
        return None
    at = random_.randrange(len(units) - n + 1)
    return ("" if han else " ").join(units[at:at + n])


def blurred(text, random_, other):
    """A text with some of its words left out, moved or replaced by another's."""
    han = sum(map(wordpiece.is_cjk, text)) > len(text) / 3
    split = (lambda t: re.findall(r"[A-Za-z0-9]+|.{1,2}", t)) if han else str.split
    units, foreign = split(text), split(other)
    keep = random_.uniform(0.2, 1)
    out = [u if random_.random() < keep else (random_.choice(foreign) if foreign and random_.random() < 0.6 else "")
           for u in units]
    if random_.random() < 0.3:
        at = random_.randrange(len(out) + 1)
        out = out[at:] + out[:at]
    return ("" if han else " ").join(u for u in out if u)


def lexical_pool(text, pools, texts, n, random_):
    """[a, b] with TF-IDF's own opinion of them (character 1- to 4-grams), for texts and blurred copies."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    pairs, scores = [], []
    for han in (False, True):
        some = [t for t in texts if (sum(map(wordpiece.is_cjk, t)) > len(t) / 3) == han and 12 <= len(t) <= 200]
        some = random_.sample(some, min(len(some), n // 2))
        a = some
        b = [blurred(t, random_, random_.choice(some)) for t in some]
        model = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, dtype=numpy.float32)
        va, vb = model.fit_transform(a), model.transform(b)
        scores += list(va.multiply(vb).sum(axis=1).A1)
        pairs += [(text(x), text(y)) for x, y in zip(a, b)]
    pools["lexical"], pools["lexical_score"] = pairs, scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", default=os.environ.get("EMBER_REFERENCE_DIR", "../shared/reference") + "/text",
                        help="folder of the reference texts [%(default)s]")
    parser.add_argument("--work", required=True, help="folder of corpus.py's pairs.jsonl; data.npz goes there")
    parser.add_argument("--pieces", type=int, default=12000, help="size of the vocabulary [%(default)s]")
    parser.add_argument("--seed", type=int, default=1)
    settings = parser.parse_args()
    pairs = os.path.join(settings.work, "pairs.jsonl")
    if not os.path.exists(pairs):
        parser.error("no %s: corpus.py --work %s makes it" % (pairs, settings.work))
    random_, began = random.Random(settings.seed), time.time()
    say = lambda *words: print("%5.0f s" % (time.time() - began), *words, flush=True)
    text, pools = Texts(), {}

    translation = similarity_pools(settings.texts, text, pools)
    label_pools(settings.texts, text, pools, settings.seed)
    translation += [(text(a), text(b)) for a, b in sets.translations(settings.texts, "train")]
    xsid = [sets.rows(settings.texts, "xsid-%s-valid" % l) for l in ("en", "zh")]
    translation += [(text(a["text"]), text(b["text"])) for a, b in zip(*xsid)]
    pools["near_translation"] = translation  # of the kind of texts that are asked for
    trained, _ = sets.questions(settings.texts)
    pools["question"] = [(text(q), text(p)) for q, p in trained]
    paragraphs = sorted({p for _, p in trained})
    near = len(text.all)
    say(near, "reference texts")

    long_texts = []
    kinds = {"translation": [], "title": [], "synonym": [], "neighbour": []}
    with open(pairs, encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            kind = "synonym" if row["kind"] == "hypernym" else row["kind"]
            kinds[kind].append((text(row["a"]), text(row["b"])))
            if kind in ("title", "neighbour") and len(row["b"]) > 80:
                long_texts.append(row["b"])
    pools.update(kinds)
    far = len(text.all)
    say({k: len(v) for k, v in pools.items()}, far, "texts")

    pieces = []  # [piece, whole]: words of a text find the text
    for whole in paragraphs * 6 + random_.sample(long_texts, min(len(long_texts), 60000)):
        part = piece_of(whole, random_)
        if part:
            pieces.append((text(part), text(whole)))
    pools["piece"] = pieces
    everything = text.all[:near] * 2 + random_.sample(text.all[near:far], min(far - near, 120000))
    lexical_pool(text, pools, everything, 120000, random_)
    say(len(pieces), "pieces,", len(pools["lexical"]), "lexical pairs")

    counts = wordpiece.count(text.all[near:far])
    for word, n in wordpiece.count(text.all[:near]).items():
        counts[word] += 4 * n
    vocabulary = wordpiece.learn(counts, settings.pieces)
    with open(os.path.join(settings.work, "vocab.txt"), "w", encoding="utf-8", newline="\n") as file:
        file.write("".join(p + "\n" for p in vocabulary))
    say(len(vocabulary), "pieces,", sum(len(p) == 1 and wordpiece.is_cjk(p) for p in vocabulary), "of them CJK")

    model = wordpiece.WordPiece(vocabulary)
    encoded = [model.encode(t) for t in text.all]
    start = numpy.cumsum([0] + [len(e) for e in encoded])
    unknown = sum(e.count(wordpiece.UNK) for e in encoded)
    say(start[-1], "tokens, %.2f %% unknown" % (100 * unknown / start[-1]))
    arrays = {"ids": numpy.concatenate([numpy.asarray(e, dtype=numpy.uint16) for e in encoded]),
              "start": start.astype(numpy.int64)}
    for name, rows in pools.items():
        arrays[name] = numpy.asarray(rows, dtype=numpy.float32 if name.endswith("score") else numpy.int32)
    numpy.savez(os.path.join(settings.work, "data.npz"), **arrays)
    say("done")


if __name__ == "__main__":
    main()
