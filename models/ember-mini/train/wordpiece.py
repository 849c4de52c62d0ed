"""WordPiece as BERT does it: text -> ids, and a vocabulary made from counted words.

The rules are those of the service's own tokenizer (docs/PROTOCOL.md, "Tokens"): control characters are
dropped, CJK characters stand alone, text is lower-cased and loses its accents, words are split at white
space and at every punctuation mark, and a word is the longest pieces that the vocabulary holds, from the left.
"""

import collections
import heapq
import unicodedata

PAD, UNK, CLS, SEP, MASK = range(5)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORD_MAX = 100
CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
       (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


def is_cjk(char):
    code = ord(char)
    return code >= 0x3400 and any(low <= code <= high for low, high in CJK)


def _is_punctuation(char):
    code = ord(char)
    if code < 128:
        return 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return unicodedata.category(char)[0] == "P"


_kinds = {}  # character -> what becomes of it: "" dropped, " " a break, (c,) alone, "x" part of a word


def _kind(char):
    if char in "\t\n\r ":
        kind = " "
    elif char in "\0\ufffd" or unicodedata.category(char) in ("Cc", "Cf", "Co"):
        kind = ""
    elif unicodedata.category(char) == "Zs" or char in "\u2028\u2029":
        kind = " "
    elif is_cjk(char):
        kind = (char,)
    else:
        bare = "".join(c.lower() for c in unicodedata.normalize("NFD", char) if unicodedata.category(c) != "Mn")
        kind = (bare,) if bare and _is_punctuation(bare[0]) else bare
    _kinds[char] = kind
    return kind


def words(text):
    """The words of a text, punctuation and CJK characters each by itself."""
    out, word = [], []
    for char in text:
        kind = _kinds.get(char)
        if kind is None:
            kind = _kind(char)
        if kind.__class__ is str and kind != " ":
            word.append(kind)
            continue
        if word:
            out.append("".join(word))
            word = []
        if kind != " ":
            out.append(kind[0])
    if word:
        out.append("".join(word))
    return [w for w in out if w]


class WordPiece:
    """Text to ids with a vocabulary; remembers words, since they come again."""

    def __init__(self, pieces):
        self.pieces = list(pieces)
        self.ids = {p: i for i, p in enumerate(self.pieces)}
        self._known = {}

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8", newline="\n") as file:
            return cls(line.rstrip("\n") for line in file)

    def _split(self, word):
        if len(word) > WORD_MAX:
            return [UNK]
        out, at = [], 0
        while at < len(word):
            end = len(word)
            while end > at:
                piece = ("##" if at else "") + word[at:end]
                if piece in self.ids:
                    break
                end -= 1
            if end == at:
                return [UNK]
            out.append(self.ids[piece])
            at = end
        return out

    def encode(self, text, longest=512):
        """[CLS] ids [SEP], no longer than `longest`."""
        ids = [CLS]
        known = self._known
        for word in words(text):
            piece = known.get(word)
            if piece is None:
                piece = known[word] = self._split(word)
            ids += piece
            if len(ids) >= longest:
                break
        return ids[:longest - 1] + [SEP]


def count(texts):
    counts = collections.Counter()
    for text in texts:
        counts.update(words(text))
    return counts


def learn(counts, size, cjk_least=10, char_least=100):
    """A vocabulary of `size` pieces from word counts: special pieces, single characters that occur often
    enough, then joined pieces, most frequent pair first (Sennrich, Haddow, Birch 2016)."""
    chars = collections.Counter()
    for word, n in counts.items():
        for char in word:
            chars[char] += n
    alone = sorted(c for c, n in chars.items() if n >= (cjk_least if is_cjk(c) else char_least))
    letters = [c for c in alone if not is_cjk(c) and not _is_punctuation(c)]
    pieces = SPECIAL + alone + ["##" + c for c in letters]
    known = set(pieces)
    usable = set(letters)
    split, where, pairs = [], collections.defaultdict(set), collections.Counter()
    for word, n in sorted(counts.items()):
        if len(word) < 2 or n < 2 or not set(word) <= usable or len(word) > 30:
            continue
        parts = [word[0]] + ["##" + c for c in word[1:]]
        for pair in zip(parts, parts[1:]):
            pairs[pair] += n
            where[pair].add(len(split))
        split.append((parts, n))
    heap = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(heap)
    while len(pieces) < size and heap:
        n, pair = heapq.heappop(heap)
        if pairs[pair] != -n:  # has changed meanwhile: back in with what it is now
            if pairs[pair] > 0:
                heapq.heappush(heap, (-pairs[pair], pair))
            continue
        joined = pair[0] + pair[1][2:]
        if joined not in known:
            known.add(joined)
            pieces.append(joined)
        for index in sorted(where.pop(pair)):
            parts, times = split[index]
            before = collections.Counter(zip(parts, parts[1:]))
            at = 0
            while at + 1 < len(parts):
                if parts[at] == pair[0] and parts[at + 1] == pair[1]:
                    parts[at:at + 2] = [joined]
                at += 1
            after = collections.Counter(zip(parts, parts[1:]))
            for changed in before.keys() | after.keys():
                delta = (after[changed] - before[changed]) * times
                if delta:
                    pairs[changed] += delta
                    if delta > 0:
                        heapq.heappush(heap, (-pairs[changed], changed))
                    where[changed].add(index)
        pairs[pair] = 0
    return pieces
