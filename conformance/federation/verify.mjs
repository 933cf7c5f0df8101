// A second opinion on the vectors, in another language and with nothing but Node's own library:
//     node conformance/federation/verify.mjs
// Prints one JSON line: for each file the number of cases and the names of those that came out otherwise.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const load = (name) => JSON.parse(readFileSync(join(here, name), "utf8"));
const bytes = (text) => Buffer.from(text, "base64");
const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const SPKI = Buffer.from("302a300506032b6570032100", "hex");
const signed = (raw, message, signature) =>
  signature.length === 64 &&
  verify(null, message, createPublicKey({ key: Buffer.concat([SPKI, raw]), format: "der", type: "spki" }), signature);
const attempt = (check) => {
  try {
    return check();
  } catch {
    return false;
  }
};

// RFC 8785 without floats. JSON.parse keeps the last of two equal keys and rounds large numbers, so both show up as
// a text that cannot be found again: the plain tokens of the input are compared with those of the output.
function canonical(value) {
  if (value === null || typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) throw new Error("number");
    return String(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  return `{${Object.keys(value).sort().map((k) => `${JSON.stringify(k)}:${canonical(value[k])}`).join(",")}}`;
}
const colons = (text) => (text.replace(/"(?:[^"\\]|\\.)*"/g, "").match(/:/g) ?? []).length;
function canonicalOf(data) {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  const value = JSON.parse(text);
  const output = canonical(value);
  if (/[.eE]/.test(text.replace(/"(?:[^"\\]|\\.)*"|true|false|null/g, ""))) throw new Error("float");
  if (/\p{Surrogate}/u.test(output) || /\\ud[89a-f]/.test(output)) throw new Error("surrogate");
  if (colons(text) !== colons(output)) throw new Error("duplicate key");
  if (/\[{17}/.test(output)) throw new Error("depth");
  return output;
}

function dsse(data, raw) {
  const envelope = JSON.parse(data);
  if (!envelope.signatures.length || new Set(envelope.signatures.map((s) => s.keyid)).size !== envelope.signatures.length) return false;
  const keyid = sha256(Buffer.from("ed25519\n"), raw).toString("hex");
  const payload = bytes(envelope.payload);
  const type = Buffer.from(envelope.payloadType);
  const message = Buffer.concat([Buffer.from(`DSSEv1 ${type.length} `), type, Buffer.from(` ${payload.length} `), payload]);
  return envelope.signatures.some((s) => s.keyid === keyid && signed(raw, message, bytes(s.sig)));
}

// RFC 6962, written as its text defines it.
const leaf = (entry) => sha256(Buffer.from([0]), entry);
const node = (left, right) => sha256(Buffer.from([1]), left, right);
const half = (n) => 2 ** (Math.ceil(Math.log2(n)) - 1);
function root(leaves, start, end) {
  if (end === start) return sha256();
  if (end - start === 1) return leaves[start];
  const k = half(end - start);
  return node(root(leaves, start, start + k), root(leaves, start + k, end));
}
function included(hash, index, size, path) {
  if (size === 1) return path.length ? null : hash;
  if (!path.length) return null;
  const k = half(size);
  const last = path.at(-1);
  const rest = path.slice(0, -1);
  const below = index < k ? included(hash, index, k, rest) : included(hash, index - k, size - k, rest);
  return below && (index < k ? node(below, last) : node(last, below));
}
// Returns [old root, new root] as the proof gives them; `known` stands for the old tree where it is a whole subtree.
function consistent(old, size, path, known, whole) {
  if (old === size) return whole ? (path.length ? null : [known, known]) : path.length === 1 ? [path[0], path[0]] : null;
  if (!path.length) return null;
  const k = half(size);
  const last = path.at(-1);
  const rest = path.slice(0, -1);
  const below = old <= k ? consistent(old, k, rest, known, whole) : consistent(old - k, size - k, rest, known, false);
  return below && (old <= k ? [below[0], node(below[1], last)] : [node(last, below[0]), node(last, below[1])]);
}

function note(data, vkey) {
  const [name, id, material] = [vkey.split("+")[0], vkey.split("+")[1], bytes(vkey.split("+").slice(2).join("+"))];
  const text = new TextDecoder("utf-8", { fatal: true }).decode(data);
  if (/[\x00-\x09\x0b-\x1f]/.test(text)) throw new Error("control character");
  const cut = text.lastIndexOf("\n\n");
  const body = text.slice(0, cut + 1);
  const lines = text.slice(cut + 2).split("\n").slice(0, -1);
  const [, size, hash, ...more] = body.split("\n");
  if (!/^(0|[1-9][0-9]*)$/.test(size) || bytes(hash).length !== 32 || more.length !== 1) throw new Error("checkpoint");
  const found = [];
  for (const line of lines) {
    const [dash, signer, content] = line.split(" ");
    if (dash !== "—") throw new Error("signature line");
    const blob = bytes(content);
    if (signer === name && blob.subarray(0, 4).toString("hex") === id) found.push(blob.subarray(4));
  }
  let time = null;
  for (const blob of found) {
    let message = Buffer.from(body);
    let signature = blob;
    if (material[0] === 4) {
      time = Number(blob.readBigUInt64BE(0));
      message = Buffer.from(`cosignature/v1\ntime ${time}\n${body}`);
      signature = blob.subarray(8);
    }
    if (!signed(material.subarray(1), message, signature)) throw new Error("signature");
  }
  return { signed: found.length > 0, time };
}

const result = {};
const judge = (file, cases, same) => {
  result[file] = { cases: cases.length, otherwise: cases.filter((c) => !same(c)).map((c) => c.name ?? JSON.stringify(c).slice(0, 80)) };
};
judge("canonical.json", load("canonical.json").cases, (c) => {
  const output = attempt(() => canonicalOf(bytes(c.input)));
  return c.refused ? output === false : output === bytes(c.output).toString("utf8");
});
judge("dsse.json", load("dsse.json").cases, (c) => attempt(() => dsse(bytes(c.envelope), bytes(c.public))) === c.verifies);
const merkle = load("merkle.json");
const leaves = Array.from({ length: 65537 }, (_, i) => leaf(Buffer.from(`entry ${i}`)));
judge("merkle.json roots", Object.entries(merkle.roots), ([size, hash]) => root(leaves, 0, Number(size)).equals(bytes(hash)));
judge("merkle.json inclusion", merkle.inclusion, (c) => {
  const found = included(bytes(c.leaf), c.index, c.size, c.path.map(bytes));
  return (found !== null && found.equals(bytes(c.root))) === c.holds;
});
judge("merkle.json consistency", merkle.consistency, (c) => {
  const found = consistent(c.old, c.new, c.proof.map(bytes), bytes(c.old_root), true);
  return (found !== null && found[0].equals(bytes(c.old_root)) && found[1].equals(bytes(c.new_root))) === c.holds;
});
const notes = load("notes.json");
judge("notes.json", notes.cases, (c) => {
  const answer = attempt(() => [note(bytes(c.checkpoint), notes.log), note(bytes(c.checkpoint), notes.witness)]);
  return (answer && answer[0].signed) === c.verifies && (answer ? answer[1].time : null) === c.witnessed_at;
});
console.log(JSON.stringify(result));
