#!/usr/bin/python3
"""How good a model is, beside two baselines, in one run.

Every vector of a model comes from the service's own engine (`ember-model embed`). The baselines: TF-IDF of
character 1- to 4-grams, and the same network before any training.

    sts        Spearman's correlation of cosine and human score, STS-B
    ncm        accuracy of the nearest class mean, 10 examples a class, mean of three draws
    zeroshot   accuracy of the label whose words are nearest, in the model's own template
    match      en -> zh: share of sentences whose nearest neighbour is their translation (SIB-200)
    retrieval  MRR@10 of a question's paragraph among 500 (CMRC)
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

import numpy

import sets


def spearman(x, y):
    def ranks(v):
        v = numpy.asarray(v, dtype=float)
        order = numpy.argsort(v, kind="stable")
        out = numpy.empty(len(v))
        at = 0
        while at < len(v):  # equal values share their mean rank
            end = at
            while end < len(v) and v[order[end]] == v[order[at]]:
                end += 1
            out[order[at:end]] = (at + end - 1) / 2
            at = end
        return out
    return float(numpy.corrcoef(ranks(x), ranks(y))[0, 1])


def engine(program, folder, precision):
    """texts -> normalised vectors, by `ember-model embed`."""
    def encode(texts):
        with tempfile.TemporaryDirectory() as work:
            asked, answer = os.path.join(work, "texts.jsonl"), os.path.join(work, "vectors.npy")
            with open(asked, "w", encoding="utf-8") as file:
                for text in texts:
                    file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            subprocess.run([program, "embed", "--model", folder, "--precision", precision, "--format", "npy",
                            "--out", answer, asked], check=True, stderr=subprocess.DEVNULL)
            return numpy.load(answer)
    return encode


def tf_idf(texts):
    """Character 1- to 4-grams, weighted on the texts of the question at hand."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    return TfidfVectorizer(analyzer="char", ngram_range=(1, 4)).fit_transform(texts)


def dot(a, b):
    """Cosines of all rows of a and b, dense or sparse."""
    out = a @ b.T
    return numpy.asarray(out.todense()) if hasattr(out, "todense") else numpy.asarray(out)


def unit(x):
    x = numpy.asarray(x)
    return x / numpy.maximum(numpy.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def ask_sts(encode, pairs):
    v = encode([p[0] for p in pairs] + [p[1] for p in pairs])
    a, b = v[:len(pairs)], v[len(pairs):]
    cosines = a.multiply(b).sum(axis=1).A1 if hasattr(a, "multiply") else (a * b).sum(axis=1)
    return spearman(cosines, [p[2] for p in pairs])


def ask_ncm(encode, trained, asked, shots=10, draws=3):
    labels = sorted({l for _, l in trained})
    of = {l: [t for t, k in trained if k == l] for l in labels}
    chosen = [[random.Random("%d %s" % (draw, l)).sample(of[l], min(shots, len(of[l]))) for l in labels]
              for draw in range(draws)]
    texts = sorted({t for draw in chosen for some in draw for t in some})
    place = {t: i for i, t in enumerate(texts)}
    v = encode(texts + [t for t, _ in asked])
    want = numpy.array([labels.index(l) for _, l in asked])
    right = []
    for draw in chosen:
        means = [numpy.asarray(v[[place[t] for t in some]].mean(axis=0)).ravel() for some in draw]
        right.append((dot(v[len(texts):], unit(means)).argmax(axis=1) == want).mean())
    return float(numpy.mean(right))


def ask_zero_shot(encode, asked, hypothesis):
    labels = sorted({l for _, l in asked})
    v = encode([hypothesis(l) for l in labels] + [t for t, _ in asked])
    cosines = dot(v[len(labels):], v[:len(labels)])
    best = cosines.max(axis=1, keepdims=True)
    ties = (cosines == best).sum(axis=1)  # a model that says nothing gets what guessing gets
    want = numpy.array([labels.index(l) for _, l in asked])
    return float(((cosines[numpy.arange(len(asked)), want] == best.ravel()) / ties).mean())


def ask_match(encode, pairs):
    v = encode([p[0] for p in pairs] + [p[1] for p in pairs])
    return float((dot(v[:len(pairs)], v[len(pairs):]).argmax(axis=1) == numpy.arange(len(pairs))).mean())


def ask_retrieval(encode, asked, candidates=500):
    paragraphs = sorted({c for _, c in asked})[:candidates]
    questions = [(q, c) for q, c in asked if c in set(paragraphs)]
    v = encode([q for q, _ in questions] + paragraphs)
    cosines = dot(v[:len(questions)], v[len(questions):])
    place = {c: i for i, c in enumerate(paragraphs)}
    ranks = [(row > row[place[c]]).sum() + 1 for row, (_, c) in zip(cosines, questions)]
    return float(numpy.mean([1 / r if r <= 10 else 0 for r in ranks]))


def questions(folder):
    """name -> a function of (encode, hypothesis)."""
    out = {}
    for language in ("en", "zh"):
        pairs = sets.sts(folder, language, "dev")
        out["sts " + language] = lambda e, h, p=pairs: ask_sts(e, p)
    for name, (trained, asked) in sets.intents(folder).items():
        out["ncm " + name] = lambda e, h, t=trained, a=asked: ask_ncm(e, t, a)
    for name, (trained, asked) in sets.zero_shot(folder).items():
        out["zeroshot " + name] = lambda e, h, a=asked: ask_zero_shot(e, a, h)
    pairs = sets.translations(folder, "dev")
    out["match en-zh"] = lambda e, h: ask_match(e, pairs)
    asked = sets.questions(folder)[1]
    out["retrieval cmrc"] = lambda e, h: ask_retrieval(e, asked)
    return out


def template(folder):
    """The model's own hypothesis of a label, as the service makes it."""
    path = os.path.join(folder, "ember_zero_shot.json")
    own = json.load(open(path, encoding="utf-8")) if os.path.exists(path) else {}
    plain = own.get("template", "{}")
    han = own.get("template_han", plain)
    import wordpiece
    return lambda label: (han if any(map(wordpiece.is_cjk, label)) else plain).replace("{}", label, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", default=os.environ.get("EMBER_REFERENCE_DIR", "../shared/reference") + "/text",
                        help="folder of the reference texts [%(default)s]")
    parser.add_argument("--program", default="build/release/worker/model_tool/ember-model", metavar="PATH",
                        help="ember-model [%(default)s]")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=DIR[:PRECISION]",
                        help="a column of the table; may be given several times")
    parser.add_argument("--no-baseline", action="store_true", help="leave TF-IDF out")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    settings = parser.parse_args()
    if settings.model and not os.access(settings.program, os.X_OK):
        parser.error("no program %s: cmake --build --preset release makes it; --program names another" % settings.program)
    columns = []
    if not settings.no_baseline:
        columns.append(("TF-IDF", tf_idf, lambda label: label))
    for item in settings.model:
        name, _, where = item.partition("=")
        folder, _, precision = where.partition(":")
        columns.append((name, engine(settings.program, folder, precision or "f32"), template(folder)))
    figures = {}
    print("%-20s" % "" + "".join("%12s" % c[0] for c in columns))
    for name, ask in questions(settings.texts).items():
        figures[name] = {c[0]: ask(c[1], c[2]) for c in columns}
        print("%-20s" % name + "".join("%12.4f" % figures[name][c[0]] for c in columns))
        sys.stdout.flush()
    print("%-20s" % "mean" + "".join(
        "%12.4f" % numpy.mean([f[c[0]] for f in figures.values()]) for c in columns))
    if settings.json:
        with open(settings.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
