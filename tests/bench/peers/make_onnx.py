#!/usr/bin/env python3
"""A BERT directory as ONNX graphs, for timing ONNX Runtime beside ember-model.

  make_onnx.py MODEL_DIR OUT_DIR

Reads config.json and model.safetensors (F32; `ember-model synth` writes such a directory) and writes

  plain-f32.onnx   standard operators (opset 17) in the order in which exporters write them: the runtime's own
                   optimiser has to find attention, layer norms and GELU in it
  fused-f32.onnx   the runtime's own fused operators (domain com.microsoft)
  plain-i8.onnx    dynamic int8: DynamicQuantizeLinear and MatMulInteger, weights symmetric per output channel
  fused-i8.onnx    QAttention and DynamicQuantizeMatMul, weights as above

Inputs input_ids, attention_mask, token_type_ids [texts, tokens] (int64); output last_hidden_state. Needs numpy and
onnx (Debian: python3-numpy, python3-onnx). Operators: https://onnx.ai/onnx/operators and ContribOperators.md of
ONNX Runtime. The formulas are those of src/model/encoder.c.
"""
import json
import os
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"


def read_safetensors(path):
    """Name -> array. The file: length of the header (8 bytes), header (JSON), numbers."""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        numbers = f.read()
    tensors = {}
    for name, info in header.items():
        if name != "__metadata__":
            if info["dtype"] != "F32":
                raise SystemExit(f"{path}: {name} is {info['dtype']}, not F32")
            first, end = info["data_offsets"]
            tensors[name] = np.frombuffer(numbers[first:end], np.float32).reshape(info["shape"])
    return tensors


class Graph:
    """Collects nodes; a value is its name."""

    def __init__(self, config, weights):
        self.config, self.weights = config, weights
        self.nodes, self.constants, self.quantized, self.shapes = [], {}, {}, []
        self.hidden, self.heads = config["hidden_size"], config["num_attention_heads"]
        self.eps = config.get("layer_norm_eps", 1e-12)

    def add(self, op, *inputs, outputs=1, domain="", **attributes):
        names = [f"{op}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=names[0], domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, name, value):
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def weight(self, name):
        return self.constant(name, self.weights[name])

    def quantize_columns(self, name, matrix):
        """Names of the int8 matrix, its scales and its zeros: each column is a whole number of its scale."""
        scale = np.maximum(np.abs(matrix).max(axis=0), 1e-12) / 127
        whole = np.clip(np.rint(matrix / scale), -127, 127).astype(np.int8)
        return (self.constant(name + ".i8", whole), self.constant(name + ".scale", scale.astype(np.float32)),
                self.constant(name + ".zero", np.zeros(matrix.shape[1], np.int8)))

    def linear(self, x, name, int8):
        """x W^T + b in standard operators."""
        matrix, bias = self.weights[name + ".weight"].T, self.weight(name + ".bias")
        if not int8:
            return self.add("Add", self.add("MatMul", x, self.constant(name + ".weight.T", matrix)), bias)
        if x not in self.quantized: # query, key and value share it
            self.quantized[x] = self.add("DynamicQuantizeLinear", x, outputs=3)
        rows, row_scale, row_zero = self.quantized[x]
        whole, scale, zero = self.quantize_columns(name, matrix)
        sums = self.add("Cast", self.add("MatMulInteger", rows, whole, row_zero, zero), to=TensorProto.FLOAT)
        return self.add("Add", self.add("Mul", sums, self.add("Mul", row_scale, scale)), bias)

    def norm(self, x, name):
        return self.add("LayerNormalization", x, self.weight(name + ".weight"), self.weight(name + ".bias"),
                        axis=-1, epsilon=self.eps)

    # ---- standard operators

    def plain_embeddings(self, int8):
        word = "embeddings.word_embeddings.weight"
        if int8: # as the runtime's own quantiser does: the word table by one scale
            table = self.weights[word]
            scale = np.float32(np.abs(table).max() / 127)
            rows = self.add("Gather", self.constant(word + ".i8", np.rint(table / scale).astype(np.int8)), "input_ids")
            words = self.add("DequantizeLinear", rows, self.constant("words.scale", scale),
                             self.constant("words.zero", np.int8(0)))
        else:
            words = self.add("Gather", self.weight(word), "input_ids")
        tokens = self.add("Gather", self.add("Shape", "input_ids"), self.constant("one", np.array([1], np.int64)), axis=0)
        every = np.arange(self.config["max_position_embeddings"], dtype=np.int64)[None]
        positions = self.add("Slice", self.constant("every position", every), self.constant("zero", np.array([0], np.int64)),
                             tokens, self.constant("one", np.array([1], np.int64)))
        x = self.add("Add", words, self.add("Gather", self.weight("embeddings.token_type_embeddings.weight"), "token_type_ids"))
        x = self.add("Add", x, self.add("Gather", self.weight("embeddings.position_embeddings.weight"), positions))
        x = self.norm(x, "embeddings.LayerNorm")
        # A slice by a computed length loses its name; the optimiser fuses only what has a known shape.
        self.shapes.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, ["texts", "tokens", self.hidden]))
        return x

    def plain_mask(self):
        """0 where a token is, -10000 where padding is: [texts, 1, 1, tokens]."""
        mask = self.add("Unsqueeze", "attention_mask", self.constant("one", np.array([1], np.int64)))
        mask = self.add("Unsqueeze", mask, self.constant("two", np.array([2], np.int64)))
        mask = self.add("Sub", self.constant("1.0", np.float32(1)), self.add("Cast", mask, to=TensorProto.FLOAT))
        return self.add("Mul", mask, self.constant("-10000", np.float32(-10000)))

    def plain_attention(self, x, mask, name, int8):
        dim = self.hidden // self.heads
        split = self.constant("split", np.array([0, 0, self.heads, dim], np.int64))
        q, k, v = (self.add("Transpose", self.add("Reshape", self.linear(x, f"{name}.self.{part}", int8), split),
                            perm=[0, 2, 3, 1] if part == "key" else [0, 2, 1, 3]) for part in ("query", "key", "value"))
        scores = self.add("Div", self.add("MatMul", q, k), self.constant("sqrt(dim)", np.float32(np.sqrt(dim))))
        shares = self.add("Softmax", self.add("Add", scores, mask), axis=-1)
        out = self.add("Transpose", self.add("MatMul", shares, v), perm=[0, 2, 1, 3])
        return self.add("Reshape", out, self.constant("merge", np.array([0, 0, self.hidden], np.int64)))

    def plain_gelu(self, x):
        erf = self.add("Erf", self.add("Div", x, self.constant("sqrt 2", np.float32(np.sqrt(2)))))
        x = self.add("Mul", x, self.add("Add", erf, self.constant("1.0", np.float32(1))))
        return self.add("Mul", x, self.constant("0.5", np.float32(0.5)))

    def plain(self, int8):
        x, mask = self.plain_embeddings(int8), self.plain_mask()
        for layer in range(self.config["num_hidden_layers"]):
            p = f"encoder.layer.{layer}."
            a = self.linear(self.plain_attention(x, mask, p + "attention", int8), p + "attention.output.dense", int8)
            x = self.norm(self.add("Add", a, x), p + "attention.output.LayerNorm")
            f = self.plain_gelu(self.linear(x, p + "intermediate.dense", int8))
            x = self.norm(self.add("Add", self.linear(f, p + "output.dense", int8), x), p + "output.LayerNorm")
        return x

    # ---- the runtime's fused operators

    def fused_linear(self, x, name, int8):
        """x W^T without the bias, which the operator behind it adds."""
        matrix = self.weights[name + ".weight"].T
        if not int8:
            return self.add("MatMul", x, self.constant(name + ".weight.T", matrix))
        whole, scale, zero = self.quantize_columns(name, matrix)
        return self.add("DynamicQuantizeMatMul", x, whole, scale, zero, domain=MICROSOFT)

    def fused_attention(self, x, mask, name, int8):
        parts = [f"{name}.self.{part}" for part in ("query", "key", "value")]
        matrix = np.concatenate([self.weights[part + ".weight"].T for part in parts], axis=1)
        bias = self.constant(name + ".bias", np.concatenate([self.weights[part + ".bias"] for part in parts]))
        if not int8:
            return self.add("Attention", x, self.constant(name + ".weight", matrix), bias, mask, domain=MICROSOFT,
                            num_heads=self.heads)
        rows, row_scale, row_zero = self.add("DynamicQuantizeLinear", x, outputs=3)
        whole, scale, zero = self.quantize_columns(name, matrix)
        return self.add("QAttention", rows, whole, bias, row_scale, scale, mask, row_zero, zero, domain=MICROSOFT,
                        num_heads=self.heads)

    def fused_norm(self, x, residual, norm, bias):
        return self.add("SkipLayerNormalization", x, residual, self.weight(norm + ".weight"), self.weight(norm + ".bias"),
                        self.weight(bias), domain=MICROSOFT, epsilon=self.eps)

    def fused(self, int8):
        ids, types, mask = (self.add("Cast", name, to=TensorProto.INT32)
                            for name in ("input_ids", "token_type_ids", "attention_mask"))
        tables = [self.weight(f"embeddings.{part}_embeddings.weight") for part in ("word", "position", "token_type")]
        x = self.add("EmbedLayerNormalization", ids, types, *tables, self.weight("embeddings.LayerNorm.weight"),
                     self.weight("embeddings.LayerNorm.bias"), outputs=2, domain=MICROSOFT, epsilon=self.eps)[0]
        for layer in range(self.config["num_hidden_layers"]):
            p = f"encoder.layer.{layer}."
            a = self.fused_linear(self.fused_attention(x, mask, p + "attention", int8), p + "attention.output.dense", int8)
            x = self.fused_norm(a, x, p + "attention.output.LayerNorm", p + "attention.output.dense.bias")
            f = self.add("BiasGelu", self.fused_linear(x, p + "intermediate.dense", int8),
                         self.weight(p + "intermediate.dense.bias"), domain=MICROSOFT)
            x = self.fused_norm(self.fused_linear(f, p + "output.dense", int8), x, p + "output.LayerNorm",
                                p + "output.dense.bias")
        return x

    def model(self, out):
        self.add("Identity", out)
        self.nodes[-1].output[0] = "last_hidden_state"
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"])
                  for name in ("input_ids", "attention_mask", "token_type_ids")]
        output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["texts", "tokens", self.hidden])
        graph = helper.make_graph(self.nodes, "bert", inputs, [output], list(self.constants.values()),
                                  value_info=self.shapes)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)])
        model.ir_version = 8
        return model


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    source, out = sys.argv[1:]
    with open(os.path.join(source, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
        raise SystemExit(f"{source}: only BERT with GELU is written")
    weights = read_safetensors(os.path.join(source, "model.safetensors"))
    os.makedirs(out, exist_ok=True)
    for form in ("plain", "fused"):
        for precision in ("f32", "i8"):
            graph = Graph(config, weights)
            result = graph.plain(precision == "i8") if form == "plain" else graph.fused(precision == "i8")
            with open(os.path.join(out, f"{form}-{precision}.onnx"), "wb") as f:
                f.write(graph.model(result).SerializeToString())


main()
