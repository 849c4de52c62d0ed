#!/usr/bin/python3
"""Trains ember-mini on data.py's data.npz: first a bag of words, then the encoder that begins as it.

Each step draws one kind of batch (SHARES) and lowers its loss:
    pairs     symmetric InfoNCE with in-batch negatives (van den Oord et al. 2018), cosines times SCALE
    classes   the same between texts of one class, others of that class left out (Khosla et al. 2020)
    asked     cross-entropy of a text's label among its set's labels, by the cosines to their hypotheses
    scored    CoSENT (Su 2022): a pair that people (or TF-IDF) call more alike must have the larger cosine
Writes the model directory, and next to it train.log with losses and the figures of the development sets.
"""

import argparse
import ctypes
import math
import os
import sys
import time

import numpy
import torch
from torch.nn import functional as F

import evaluate
import model as network
import wordpiece

SCALE = 20.0
TOKENS_AT_ONCE = 6144  # of a padded block; smaller ones stay in the cache
SHARES = {  # kind of batch: its share of the bag's steps, of the encoder's, texts or pairs a batch
    "translation": (0.26, 0.19, 256), "near_translation": (0.08, 0.08, 192), "title": (0.10, 0.05, 192),
    "synonym": (0.05, 0.02, 256), "neighbour": (0.06, 0.03, 192), "piece": (0.10, 0.13, 128),
    "question": (0.04, 0.08, 96), "sts": (0.07, 0.10, 128), "sts_cross": (0.04, 0.05, 128),
    "lexical": (0.09, 0.07, 192), "class": (0.05, 0.08, 256), "asked": (0.06, 0.12, 160),
}
SCORED = ("sts", "sts_cross", "lexical")


class Source:
    """Batches by seed: token ids of texts by their numbers, words left out at random."""

    def __init__(self, path, seed):
        self.data = dict(numpy.load(path))
        self.ids, self.start = self.data["ids"].astype(numpy.int64), self.data["start"]
        self.random = numpy.random.default_rng(seed)

    def text(self, number, longest, drop):
        ids = self.ids[self.start[number]:self.start[number + 1]]
        if len(ids) > longest:
            ids = numpy.append(ids[:longest - 1], wordpiece.SEP)
        if drop and len(ids) > 5:
            keep = self.random.random(len(ids)) >= drop
            keep[0] = keep[-1] = True
            ids = ids[keep]
        return ids

    def rows(self, pool, n):
        rows = self.data[pool]
        chosen = self.random.integers(len(rows), size=n)
        return rows[chosen], chosen


def embed(net, source, numbers, longest, drop=0.0):
    """Normalised vectors of texts, in blocks of like lengths so that little is padded."""
    texts = [source.text(n, longest, drop) for n in numbers]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out, at = [], 0
    while at < len(order):
        end = at + 1
        while end < len(order) and len(texts[order[end]]) * (end + 1 - at) <= TOKENS_AT_ONCE:
            end += 1
        block = [texts[i] for i in order[at:end]]
        ids = numpy.zeros((len(block), len(block[-1])), dtype=numpy.int64)
        mask = numpy.zeros(ids.shape, dtype=numpy.float32)
        for i, t in enumerate(block):
            ids[i, :len(t)] = t
            mask[i, :len(t)] = 1
        out.append(net(torch.from_numpy(ids), torch.from_numpy(mask)).float())
        at = end
    back = numpy.empty(len(order), dtype=numpy.int64)
    back[order] = numpy.arange(len(order))
    return F.normalize(torch.cat(out)[torch.from_numpy(back)], dim=1)


def pairs_loss(a, b, same_a, same_b):
    """InfoNCE both ways; what is the same text elsewhere in the batch is no negative."""
    logits = SCALE * a @ b.T
    other = ~torch.eye(len(a), dtype=torch.bool)
    logits = logits.masked_fill(torch.from_numpy(same_a | same_b) & other, -1e4)
    want = torch.arange(len(a))
    return (F.cross_entropy(logits, want) + F.cross_entropy(logits.T, want)) / 2


def equal(numbers):
    return numbers[:, None] == numbers[None, :]


def class_loss(v, classes):
    """Every other text of one's class is right, and the others are not negatives of it."""
    logits = SCALE * v @ v.T
    same = torch.from_numpy(equal(classes))
    itself = torch.eye(len(v), dtype=torch.bool)
    wrong = torch.logsumexp(logits.masked_fill(same, -1e4), dim=1, keepdim=True)
    each = F.softplus(wrong - logits)[same & ~itself]
    return each.mean()


def scored_loss(a, b, score):
    cosines = SCALE * (a * b).sum(1)
    difference = cosines[:, None] - cosines[None, :]
    worse = score[:, None] < score[None, :] - 1e-4
    return torch.logsumexp(torch.cat((difference[worse], torch.zeros(1))), 0)


def asked_loss(net, source, rows, longest, drop):
    """rows [text, set, label]: all of one set; a way to say each of its labels is drawn."""
    index = source.data["hypothesis_index"]
    index = index[index[:, 0] == rows[0, 1]]
    ways = source.data["hypothesis"][index[:, 2] + source.random.integers(index[:, 3])]
    if len(ways) > 60:  # of many labels those that are asked for, and some
        some = numpy.unique(numpy.concatenate((rows[:, 2], source.random.integers(len(ways), size=30))))
    else:
        some = numpy.arange(len(ways))
    place = numpy.full(len(ways), -1)
    place[some] = numpy.arange(len(some))
    v = embed(net, source, numpy.concatenate((rows[:, 0], ways[some])), longest, drop)
    logits = SCALE * v[:len(rows)] @ v[len(rows):].T
    return F.cross_entropy(logits, torch.from_numpy(place[rows[:, 2]]))


def loss_of(net, source, kind, size, longest, drop):
    if kind == "class":
        rows, _ = source.rows("class", size)
        return class_loss(embed(net, source, rows[:, 0], longest, drop), rows[:, 1])
    if kind == "asked":
        sets = source.data["asked"][:, 1]
        names = numpy.unique(sets)
        evenness = 0.5 if isinstance(net, network.Bag) else 0.25  # small sets are asked more than their size says
        share = numpy.array([(sets == s).sum() for s in names]) ** evenness
        chosen = source.random.choice(names, p=share / share.sum())
        rows = source.data["asked"][sets == chosen]
        return asked_loss(net, source, rows[source.random.integers(len(rows), size=size)], longest, drop)
    rows, chosen = source.rows(kind, size)
    v = embed(net, source, numpy.concatenate((rows[:, 0], rows[:, 1])), longest, drop)
    a, b = v[:size], v[size:]
    if kind in SCORED:
        return scored_loss(a, b, torch.from_numpy(source.data[kind + "_score"][chosen]))
    return pairs_loss(a, b, equal(rows[:, 0]), equal(rows[:, 1]))


def judge(net, vocabulary, asks, hypothesis):
    pieces = wordpiece.WordPiece(vocabulary)

    class Given:  # texts that are not in the data
        def text(self, number, longest, drop):
            return number
    def encode(texts):
        net.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=not isinstance(net, network.Bag)):
            out = embed(net, Given(), [numpy.asarray(pieces.encode(t)) for t in texts], 512)
        net.train()
        return out.numpy()
    figures = {name: ask(encode, hypothesis) for name, ask in asks.items()}
    figures["mean"] = sum(figures.values()) / len(figures)
    return "  ".join("%s %.3f" % item for item in figures.items())


def run(net, source, steps, rates, column, longest, say, check, every, faster=1):
    """Adam with a warm-up of 2 % and a cosine's way down."""
    groups = [{"params": [p], "rate": r} for p, r in rates]
    optimizer = torch.optim.Adam(groups, lr=0.0, betas=(0.9, 0.98))
    kinds = list(SHARES)
    share = numpy.array([SHARES[k][column] for k in kinds])
    losses = {k: [] for k in kinds}
    half = not isinstance(net, network.Bag)
    began = time.time()
    for step in range(steps):
        at = (step + 1) / steps
        slope = min(1, at / 0.02) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * at)))
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * slope
        kind = kinds[source.random.choice(len(kinds), p=share / share.sum())]
        drop = 0.1 if kind in ("sts", "sts_cross", "class", "asked", "question", "near_translation") else 0.0
        length = longest if kind != "question" else 4 * longest
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = loss_of(net, source, kind, SHARES[kind][2] * faster, length, drop)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses[kind].append(float(loss))
        if (step + 1) % 100 == 0:
            say("step %d of %d, %.2f s each: %s" % (step + 1, steps, (time.time() - began) / (step + 1), "  ".join(
                "%s %.3f" % (k, numpy.mean(v)) for k, v in losses.items() if v)))
            losses = {k: [] for k in kinds}
        if (step + 1) % every == 0 or step + 1 == steps:
            say("    " + check())


def keep_memory():
    """Large arrays come and go in every step: glibc shall keep their pages instead of asking for clean ones."""
    libc = ctypes.CDLL(None)
    libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
    libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", default=os.environ.get("EMBER_REFERENCE_DIR", "../shared/reference") + "/text",
                        help="folder of the reference texts [%(default)s]")
    parser.add_argument("--work", required=True, help="folder of data.npz and vocab.txt")
    parser.add_argument("--out", required=True, help="the model directory to write")
    parser.add_argument("--bag-steps", type=int, default=5000)
    parser.add_argument("--bag-rate", type=float, default=3e-3)
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--rate", type=float, default=8e-4, help="the encoder's learning rate [%(default)s]")
    parser.add_argument("--longest", type=int, default=64, help="tokens of a text in training [%(default)s]")
    parser.add_argument("--every", type=int, default=1000, help="ask the development sets every N steps")
    parser.add_argument("--bag", help="begin with this bag (bag.pt of an earlier run)")
    parser.add_argument("--untrained", metavar="DIR", help="write the network before any training there")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the encoder's training [%(default)s]")
    parser.add_argument("--seed", type=int, default=1, help="[%(default)s]")
    settings = parser.parse_args()
    if not os.path.exists(os.path.join(settings.work, "data.npz")):
        parser.error("no data.npz in %s: data.py --work %s makes it" % (settings.work, settings.work))
    keep_memory()
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)  # the bag waits for memory alone; more threads are slower
    torch.set_flush_denormal(True)  # moments of rare words fade to nothing, slowly
    os.makedirs(settings.out, exist_ok=True)
    log, began = open(os.path.join(settings.work, os.path.basename(settings.out.rstrip("/")) + ".log"), "w"), time.time()

    def say(text):
        line = "%6.0f s  %s" % (time.time() - began, text)
        print(line, flush=True)
        log.write(line + "\n")
        log.flush()

    say(" ".join(sys.argv[1:]))
    vocabulary = wordpiece.WordPiece.load(os.path.join(settings.work, "vocab.txt")).pieces
    source = Source(os.path.join(settings.work, "data.npz"), settings.seed)
    asks, hypothesis = evaluate.questions(settings.texts), lambda label: label
    if settings.untrained:
        torch.manual_seed(settings.seed)
        plain = network.Encoder(len(vocabulary))
        network.write(plain, vocabulary, settings.untrained)

    bag = network.Bag(torch.from_numpy(numpy.bincount(source.ids, minlength=len(vocabulary)).astype(numpy.float32)))
    if settings.bag:
        bag.load_state_dict(torch.load(settings.bag))
        say("bag: " + judge(bag, vocabulary, asks, hypothesis))
    else:
        run(bag, source, settings.bag_steps, [(bag.rows, settings.bag_rate)], 0, settings.longest, say,
            lambda: judge(bag, vocabulary, asks, hypothesis), settings.every, 2)
        torch.save(bag.state_dict(), os.path.join(settings.work, "bag.pt"))

    torch.manual_seed(settings.seed + 1)  # the same, whether the bag was trained in this run or an earlier one
    source.random = numpy.random.default_rng(settings.seed + 1)
    torch.set_num_threads(settings.threads)
    encoder = network.Encoder(len(vocabulary))
    encoder.begin_as(bag)
    say("encoder before: " + judge(encoder, vocabulary, asks, hypothesis))
    rates = [(p, settings.rate) for p in encoder.parameters()]

    def check():
        network.write(encoder, vocabulary, settings.out)
        return judge(encoder, vocabulary, asks, hypothesis)
    run(encoder, source, settings.steps, rates, 1, settings.longest, say, check, settings.every)
    torch.save(encoder.state_dict(), os.path.join(settings.work, "encoder.pt"))
    say("written to " + settings.out)


if __name__ == "__main__":
    main()
