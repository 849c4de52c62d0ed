// ort_peer.js: ONNX Runtime as a process that is asked, line by line, for times.
//
//   NODE_PATH=node_modules node ort_peer.js ONNX_DIR
//
// A question is a line of JSON, and so is its answer:
//   {"load": "f32", "threads": 1}                      opens plain-f32.onnx and fused-f32.onnx
//   {"lengths": [8, 8], "seconds": 0.5, "group": 2, "sort": false, "vector": true}
//        times texts of these lengths in batches of `group`, padded to the longest of each, sorted by length or not;
//        answers the median and the least time of each graph, in milliseconds of processor time (on a machine that
//        others use too, what they take does not count; ember-model bench measures alike), and the first text's mean
//        vector
//   {"quit": true}
// Token i of all texts together has the id (i * 2654435761 mod 2^32) mod vocab, as `ember-model bench` has it.
'use strict';
const fs = require('fs');
const path = require('path');
const readline = require('readline');
const ort = require('onnxruntime-node');

const dir = process.argv[2];
let sessions = [];

const now = () => Number(process.hrtime.bigint()) / 1e6;
const ints = (values, dims) => new ort.Tensor('int64', BigInt64Array.from(values, BigInt), dims);

async function load({ load, threads, vocab }) {
  for (const { session } of sessions) await session.release();
  sessions = [];
  for (const form of ['plain', 'fused']) {
    const options = { intraOpNumThreads: threads, interOpNumThreads: 1, executionMode: 'sequential',
      graphOptimizationLevel: 'all', logSeverityLevel: 3 };
    if (process.env.PEERS_DUMP) options.optimizedModelFilePath = path.join(process.env.PEERS_DUMP, `${form}-${load}.onnx`);
    const session = await ort.InferenceSession.create(path.join(dir, `${form}-${load}.onnx`), options);
    sessions.push({ form, session });
  }
  sessions.vocab = vocab;
  const status = fs.readFileSync('/proc/self/status', 'utf8');
  return { version: require('onnxruntime-node/package.json').version, rss_mb: Math.round(/VmRSS:\s+(\d+)/.exec(status)[1] / 1024) };
}

/* Batches of padded inputs. */
function makeFeeds({ lengths, group, sort }) {
  let at = 0;
  let texts = lengths.map(n => {
    const ids = Array.from({ length: n }, (_, i) => (Math.imul(at + i, 2654435761) >>> 0) % sessions.vocab);
    at += n;
    return ids;
  });
  if (sort) texts = texts.sort((a, b) => a.length - b.length);
  const feeds = [];
  for (let i = 0; i < texts.length; i += group) {
    const some = texts.slice(i, i + group), longest = Math.max(...some.map(t => t.length)), dims = [some.length, longest];
    const pad = fill => some.flatMap(t => Array.from({ length: longest }, (_, k) => (k < t.length ? fill(t, k) : 0)));
    feeds.push({ input_ids: ints(pad((t, k) => t[k]), dims), attention_mask: ints(pad(() => 1), dims),
      token_type_ids: ints(pad(() => 0), dims) });
  }
  return feeds;
}

function meanVector(out, tokens) {
  const hidden = out.dims[2], sum = new Float64Array(hidden);
  for (let i = 0; i < tokens; i++) for (let k = 0; k < hidden; k++) sum[k] += out.data[i * hidden + k];
  return Array.from(sum, x => x / tokens);
}

async function time(question) {
  const feeds = makeFeeds(question), answer = {};
  for (const { form, session } of sessions) {
    const times = [], pass = async () => {
      const from = process.cpuUsage();
      for (const feed of feeds) await session.run(feed);
      const spent = process.cpuUsage(from);
      return (spent.user + spent.system) / 1e3;
    };
    const out = await session.run(feeds[0]);
    const least = await pass() > 1000 ? 1 : 3; /* the first pass warms; long ones are not repeated */
    for (const begin = now(); times.length < least || now() - begin < question.seconds * 1e3;) times.push(await pass());
    times.sort((a, b) => a - b);
    answer[form] = { ms: times[times.length >> 1], ms_min: times[0], passes: times.length };
    if (question.vector) answer[form].vector = meanVector(out.last_hidden_state, question.lengths[0]);
  }
  return answer;
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const question = JSON.parse(line);
    if (question.quit) break;
    console.log(JSON.stringify(await (question.load ? load(question) : time(question))));
  }
  process.exit(0);
})().catch(error => { console.error(`ort_peer: ${error.message}`); process.exit(1); });
