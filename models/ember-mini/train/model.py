"""The network in two stages, and how it is written in the published format.

`Bag` is a weighted sum of word vectors: cheap to train, and it learns which words mean the same, in both languages,
and which hardly count. `Encoder` is BERT (Devlin et al. 2019): it begins as exactly that bag and learns what
neighbours and order add.

How a bag becomes a BERT. A row of the hidden state has three parts: CONTENT, the word's direction times its weight;
SINK, what fills up its length, so that the layer norms, which make all rows equally long, change nothing; PLACE,
sines of the position (Vaswani et al. 2017). Blocks begin with small outputs, and the last norm's gain lets CONTENT
alone through: the mean of the rows is the bag's sum. Some heads begin by looking at the one or two words before
or behind, which takes long to find out from so few texts and matters where a word is several characters.
"""

import json
import math
import os

import numpy
import torch
from torch import nn
from torch.nn import functional as F

import wordpiece

WIDTH, LAYERS, HEADS, INNER, LONGEST = 256, 2, 8, 512, 512
SINK, PLACE = 16, 16
CONTENT = WIDTH - SINK - PLACE
PLACE_POWER = 16.0  # squared length of PLACE; all of a row: WIDTH
WAVES = (2.2, 1.5, 1.0, 0.7, 0.45, 0.3, 0.2, 0.1)  # radians a position
# How labels are said, and temperatures under which scores are chances: between what `ember-model eval --task zeroshot
# --calibrate` finds on SIB-200's development halves in English and in Chinese.
ZERO_SHOT = {"template": "This text is about {}.", "template_han": "这段话的内容是{}。", "temperature": 0.055,
             "multi_label": {"midpoint": 0.265, "temperature": 0.08}}
GLANCES = (-1, 1, -2, 2)  # what the first heads of each layer look at, positions from here


class Bag(nn.Module):
    """Sum of the tokens' vectors. They begin as random directions, as long as their words are rare (Sparck Jones 1972)."""

    def __init__(self, counts):
        super().__init__()
        idf = torch.log(counts.sum() / (counts + 10))
        idf[wordpiece.CLS] = idf[wordpiece.SEP] = idf[wordpiece.PAD] = 0.01
        self.rows = nn.Parameter(F.normalize(torch.randn(len(counts), CONTENT), dim=1) * (idf / idf.max())[:, None])

    def forward(self, ids, mask):
        return F.embedding_bag(ids, self.rows, per_sample_weights=mask, mode="sum")


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm1 = nn.LayerNorm(WIDTH, eps=1e-12)
        self.up = nn.Linear(WIDTH, INNER)
        self.down = nn.Linear(INNER, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x, hidden, rate):
        n, length, _ = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) / math.sqrt(WIDTH // HEADS) + hidden
        mixed = (F.softmax(scores.float(), dim=3).to(v.dtype) @ v).transpose(1, 2).reshape(n, length, WIDTH)
        x = self.norm1(x + F.dropout(self.out(mixed), rate, self.training))
        return self.norm2(x + F.dropout(self.down(F.gelu(self.up(x))), rate, self.training))


class Encoder(nn.Module):
    def __init__(self, pieces, dropout=0.0):
        super().__init__()
        self.word = nn.Parameter(torch.randn(pieces, WIDTH))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.dropout = dropout
        place = torch.zeros(LONGEST, WIDTH)
        angle = torch.arange(LONGEST)[:, None] * torch.tensor(WAVES)
        place[:, WIDTH - PLACE:] = torch.stack((angle.sin(), angle.cos()), 2).reshape(LONGEST, PLACE)
        self.register_buffer("place", place * math.sqrt(PLACE_POWER / len(WAVES)))
        for layer in self.layers:
            self._begin(layer)

    @torch.no_grad()
    def _begin(self, layer):
        for linear, std in ((layer.qkv, 0.04), (layer.out, 0.005), (layer.up, 0.05), (layer.down, 0.005)):
            nn.init.normal_(linear.weight, std=std)
            nn.init.zeros_(linear.bias)
        size = WIDTH // HEADS
        for head, step in enumerate(GLANCES):
            q = layer.qkv.weight[head * size:(head + 1) * size]
            k = layer.qkv.weight[WIDTH + head * size:WIDTH + (head + 1) * size]
            q.zero_()
            k.zero_()
            for i, wave in enumerate(WAVES):  # q turns the place by `step`: q . k = sum of cos(wave * (here + step - there))
                sine, cosine = WIDTH - PLACE + 2 * i, WIDTH - PLACE + 2 * i + 1
                c, s = math.cos(wave * step), math.sin(wave * step)
                q[2 * i, sine], q[2 * i, cosine] = 3.3 * c, 3.3 * s
                q[2 * i + 1, sine], q[2 * i + 1, cosine] = -3.3 * s, 3.3 * c
                k[2 * i, sine] = k[2 * i + 1, cosine] = 1

    @torch.no_grad()
    def begin_as(self, bag):
        lengths = bag.rows.norm(dim=1, keepdim=True)
        rows = bag.rows / torch.maximum(lengths, lengths.quantile(0.995))  # none longer than 1
        power = WIDTH - PLACE_POWER
        self.word.zero_()
        self.word[:, :CONTENT] = rows * math.sqrt(power)
        rest = (power * (1 - rows.square().sum(1)).clamp(min=0) / SINK).sqrt()
        signs = torch.tensor([1.0, -1.0]).repeat(SINK // 2)
        self.word[:, CONTENT:CONTENT + SINK] = rest[:, None] * signs
        self.layers[-1].norm2.weight[CONTENT:] = 0.05

    def forward(self, ids, mask):
        """ids, mask [n, length] -> mean of the last rows [n, WIDTH]."""
        x = self.norm(self.word[ids] + self.place[:ids.shape[1]])
        hidden = (1 - mask)[:, None, None, :] * -1e4
        for layer in self.layers:
            x = layer(x, hidden, self.dropout)
        return (x.float() * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)

    def tensors(self):
        """Under BERT's published names."""
        out = {"embeddings.word_embeddings.weight": self.word,
               "embeddings.position_embeddings.weight": self.place,
               "embeddings.token_type_embeddings.weight": torch.zeros(2, WIDTH),
               "embeddings.LayerNorm.weight": self.norm.weight, "embeddings.LayerNorm.bias": self.norm.bias}
        for i, layer in enumerate(self.layers):
            at = "encoder.layer.%d." % i
            for name, w, b in zip(("query", "key", "value"), layer.qkv.weight.chunk(3), layer.qkv.bias.chunk(3)):
                out[at + "attention.self.%s.weight" % name], out[at + "attention.self.%s.bias" % name] = w, b
            for name, part in (("attention.output.dense", layer.out), ("attention.output.LayerNorm", layer.norm1),
                               ("intermediate.dense", layer.up), ("output.dense", layer.down),
                               ("output.LayerNorm", layer.norm2)):
                out[at + name + ".weight"], out[at + name + ".bias"] = part.weight, part.bias
        return {name: t.detach().numpy().astype(numpy.float16) for name, t in out.items()}


def write(encoder, vocabulary, folder):
    """A model directory in the layout of sentence-transformers."""
    os.makedirs(os.path.join(folder, "1_Pooling"), exist_ok=True)

    def put(name, value):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, ensure_ascii=False)
            file.write("\n")

    put("config.json", {
        "architectures": ["BertModel"], "model_type": "bert", "vocab_size": len(vocabulary), "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER, "hidden_act": "gelu",
        "max_position_embeddings": LONGEST, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "position_embedding_type": "absolute", "torch_dtype": "float16"})
    put("tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "tokenize_chinese_chars": True,
                                  "strip_accents": None, "model_max_length": LONGEST})
    put("modules.json", [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])
    put("1_Pooling/config.json", {"word_embedding_dimension": WIDTH, "pooling_mode_cls_token": False,
                                  "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False,
                                  "pooling_mode_mean_sqrt_len_tokens": False})
    put("ember_zero_shot.json", ZERO_SHOT)
    put("sentence_bert_config.json", {"max_seq_length": LONGEST, "do_lower_case": False})
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8", newline="\n") as file:
        file.write("".join(piece + "\n" for piece in vocabulary))
    header, data, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, array in encoder.tensors().items():
        bytes_ = numpy.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": "F16", "shape": list(array.shape), "data_offsets": [at, at + len(bytes_)]}
        data.append(bytes_)
        at += len(bytes_)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head + b"".join(data))
