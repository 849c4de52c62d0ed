#!/usr/bin/env python3
"""ember-model beside ONNX Runtime: the same weights, ids and rows, one thread each, in turns within one run.

  peers.py --tool EMBER_MODEL --node NODE --work DIR [--models minilm,base] [--precisions f32,i8]
           [--rounds 3] [--seconds 0.4] [--rows '1,8 8,32'] [--no-mixed]

For each model WORK/NAME is made (`ember-model synth`), and WORK/NAME.onnx from it (make_onnx.py, with this Python).
A round of a row times ember-model, then both of the runtime's graphs. A row's figure is the pass of all rounds that
took the least processor time, since a busy machine disturbs whoever changes threads more often, which is the runtime;
of the runtime the better graph counts. Vectors must agree before figures do: cosine above 0.9999 in float32.
What was measured is printed as a table and written to WORK/peers.json, which `ember-model bench --baseline` reads.
"""
import argparse
import json
import math
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPES = {"minilm": "minilm-l6", "base": "bert-base"}
ROWS = {"minilm": "1,8 1,16 1,32 1,128 1,512 8,32 8,512 32,32 32,128 64,64",
        "base": "1,8 1,16 1,32 1,128 1,512 8,32 32,32"}
POLICIES = [("arrival batches of 32", 32, False), ("arrival batches of 8", 8, False),
            ("sorted batches of 8", 8, True), ("one by one", 1, False)]


class Peer:
    """ort_peer.js, asked line by line."""

    def __init__(self, node, onnx_dir):
        self.process = subprocess.Popen([node, os.path.join(HERE, "ort_peer.js"), onnx_dir], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("peers: ort_peer.js ended; its reason is above")
        return json.loads(answer)

    def close(self):
        self.process.stdin.write('{"quit": true}\n')
        self.process.stdin.close()
        self.process.wait(30)


def ours(tool, model, precision, seconds, *rows):
    out = subprocess.run([tool, "bench", model, "--precision", precision, "--json", "--vectors", "--time",
                          f"{max(seconds, 0.001)}s", *rows], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def lengths_of_mixed():
    """As bench_mixed_lengths() of ember-model draws them; the run checks that the sums agree."""
    seed, lengths = 12345, []
    for i in range(256):
        seed = (seed * 1664525 + 1013904223) % 2**32
        u = (seed >> 8) / 2**24
        lengths.append(4 + int(80 * u**3 + 12 * u) if i % 32 else 128)
    return lengths


class Table:
    def __init__(self, path):
        self.path, self.rows = path, []

    def head(self, name, version):
        print(f"\n## {name}: milliseconds of processor time, least pass, one thread; onnxruntime {version}\n", flush=True)
        print("| row | ours | ort plain | ort fused | ort / ours | cosine |\n|---|---|---|---|---|---|", flush=True)

    def add(self, model, precision, row, our_ms, peer, agreement, policy=None):
        best = min(peer.values())
        name = f"{row}: ort {policy}" if policy else row
        print(f"| {name} | {our_ms:.3g} | {peer['plain']:.3g} | {peer['fused']:.3g} | {best / our_ms:.2f} | {agreement} |",
              flush=True)
        self.rows.append({"row": row, "model": model, "precision": precision, "ms": best, "ours_ms": our_ms,
                          **({"policy": policy} if policy else {}), "plain_ms": peer["plain"], "fused_ms": peer["fused"]})
        with open(self.path, "w", encoding="utf-8") as f:
            json.dump({"rows": self.rows}, f, indent=1)


def least(before, now):
    return {key: min(before.get(key, math.inf), value) for key, value in now.items()}


def agree(memory, row, precision, our_vector, peer_answer):
    """What the table says of a row's vectors; float32 must agree, int8 is held against float32."""
    best = max((peer_answer[form]["vector"] for form in ("plain", "fused")), key=lambda v: cosine(v, our_vector))
    if precision == "f32":
        memory[row] = our_vector
        if any(cosine(peer_answer[form]["vector"], our_vector) < 0.9999 for form in ("plain", "fused")):
            raise SystemExit(f"peers: {row}: the vectors of both engines differ: cosine {cosine(best, our_vector):.6f}")
        return f"{cosine(best, our_vector):.6f}"
    if row not in memory:
        return f"{cosine(best, our_vector):.4f}"
    return f"ours {cosine(our_vector, memory[row]):.4f}, ort {cosine(best, memory[row]):.4f}"


def run_rows(args, table, peer, name, precision, memory):
    model = os.path.join(args.work, name)
    for row in (args.rows or ROWS[name]).split():
        texts, tokens = map(int, row.split(","))
        label, our_ms, peer_ms = f"{texts} x {tokens}", math.inf, {}
        for _ in range(args.rounds):
            mine = ours(args.tool, model, precision, args.seconds, "--rows", row)["rows"][0]
            other = peer.ask(lengths=[tokens] * texts, seconds=args.seconds, group=texts, sort=False, vector=True)
            our_ms = min(our_ms, mine["ms_min"])
            peer_ms = least(peer_ms, {form: other[form]["ms_min"] for form in ("plain", "fused")})
        table.add(name, precision, label, our_ms, peer_ms, agree(memory, label, precision, mine["vector"], other))


def run_mixed(args, table, peer, name, precision):
    model, lengths = os.path.join(args.work, name), lengths_of_mixed()
    our_ms, peer_ms = math.inf, [{} for _ in POLICIES]
    for _ in range(max(1, args.rounds // 2)): # a policy takes seconds
        mine = ours(args.tool, model, precision, args.seconds, "--mixed")["rows"][0]
        if mine["tokens"] != sum(lengths):
            raise SystemExit("peers: the mixed batch is another one than ember-model's")
        our_ms = min(our_ms, mine["ms_min"])
        for i, (_, group, sort) in enumerate(POLICIES):
            other = peer.ask(lengths=lengths, seconds=args.seconds, group=group, sort=sort)
            peer_ms[i] = least(peer_ms[i], {form: other[form]["ms_min"] for form in ("plain", "fused")})
    for (policy, _, _), ms in zip(POLICIES, peer_ms):
        table.add(name, precision, "mixed", our_ms, ms, "", policy)


def prepare(args, name):
    model, onnx = os.path.join(args.work, name), os.path.join(args.work, name + ".onnx")
    if not os.path.exists(os.path.join(model, "config.json")):
        subprocess.run([args.tool, "synth", "--shape", SHAPES[name], "--out", model, "--quiet"], check=True)
    if not os.path.exists(os.path.join(onnx, "fused-i8.onnx")):
        subprocess.run([sys.executable, os.path.join(HERE, "make_onnx.py"), model, onnx], check=True)
    with open(os.path.join(model, "config.json"), encoding="utf-8") as f:
        return onnx, json.load(f)["vocab_size"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", required=True)
    parser.add_argument("--node", default="node")
    parser.add_argument("--work", required=True)
    parser.add_argument("--models", default="minilm,base")
    parser.add_argument("--precisions", default="f32,i8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--rows", default="")
    parser.add_argument("--no-mixed", action="store_true")
    args = parser.parse_args()
    table = Table(os.path.join(args.work, "peers.json"))
    for name in args.models.split(","):
        onnx, vocab = prepare(args, name)
        peer, memory = Peer(args.node, onnx), {}
        for precision in args.precisions.split(","):
            version = peer.ask(load=precision, threads=1, vocab=vocab)["version"]
            table.head(f"{name} {precision}", version)
            run_rows(args, table, peer, name, precision, memory)
            if name == "minilm" and not args.no_mixed:
                run_mixed(args, table, peer, name, precision)
        peer.close()


main()
