// The vectors before packages of npm, each the work of other authors:
//     npm install --prefix conformance/federation/node && node conformance/federation/node/verify.mjs
// Prints one JSON line: for each file the number of cases and the names of those that came out otherwise.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const vectors = join(here, "..");
const modules = process.env.DIANHUAN_NODE_MODULES ?? join(here, "node_modules");
const require = createRequire(join(modules, "..", "index.js"));
const { dsse } = require("@sigstore/core");
const { Metadata, MetadataKind } = require("@tufjs/models");
const { httpbis } = require("http-message-signatures");
const { sm2, sm3 } = require("sm-crypto");
const canonicalFile = join(modules, "canonicalize", "lib", "canonicalize.js");
const { default: canonicalize } = await import(pathToFileURL(canonicalFile));

const load = (name) => JSON.parse(readFileSync(join(vectors, name), "utf8"));
const bytes = (text) => Buffer.from(text, "base64");
const SPKI = Buffer.from("302a300506032b6570032100", "hex");
const ed25519 = (raw) => createPublicKey({ key: Buffer.concat([SPKI, raw]), format: "der", type: "spki" });
const attempt = async (check) => {
  try {
    return await check();
  } catch {
    return false;
  }
};
const result = {};
async function judge(file, cases, same) {
  const otherwise = [];
  for (const c of cases) if (!(await same(c))) otherwise.push(c.name ?? JSON.stringify(c).slice(0, 80));
  result[file] = { cases: cases.length, otherwise };
}

// RFC 8785: what a general package refuses is another set (it writes floats), so only accepted cases are compared.
const accepted = load("canonical.json").cases.filter((c) => !c.refused);
await judge("canonical.json", accepted, (c) => canonicalize(JSON.parse(bytes(c.input))) === bytes(c.output).toString());

// DSSE
const dsseFile = load("dsse.json");
await judge("dsse.json pae", dsseFile.pae, (c) => dsse.preAuthEncoding(c.payload_type, bytes(c.payload)).equals(bytes(c.pae)));
function signedBy(envelope, suite, raw) {
  const { payloadType, payload, signatures } = envelope;
  const ids = signatures.map((s) => s.keyid);
  if (!ids.length || new Set(ids).size !== ids.length) return false;
  const id = createHash("sha256").update(`${suite}\n`).update(raw).digest("hex");
  const message = dsse.preAuthEncoding(payloadType, bytes(payload));
  return signatures.some((s) => s.keyid === id && verify(null, message, ed25519(raw), bytes(s.sig)));
}
await judge("dsse.json", dsseFile.cases, async (c) => {
  const envelope = JSON.parse(bytes(c.envelope));
  return (await attempt(() => signedBy(envelope, "ed25519", bytes(c.public)))) === c.verifies;
});

// RFC 9421
await judge("http.json", load("http.json").cases, async (c) => {
  const verifies = await attempt(() =>
    httpbis.verifyMessage(
      {
        // The vectors have fixed times, so the clock of this machine is not asked.
        notAfter: new Date(1_800_000_100_000),
        keyLookup: async (parameters) =>
          parameters.keyid !== c.keyid
            ? null
            : {
                id: c.keyid,
                algs: ["ed25519"],
                verify: async (data, signature) => verify(null, data, ed25519(bytes(c.public)), signature),
              },
      },
      { method: c.method, url: c.url, headers: c.headers },
    ),
  );
  return (verifies === true) === c.verifies;
});

// SM2, SM3
const sm2File = load("sm2.json");
await judge("sm2.json sm3", sm2File.sm3, (c) => sm3([...bytes(c.input)]) === c.sm3);
await judge("sm2.json", sm2File.cases, async (c) => {
  const key = bytes(c.public).toString("hex");
  // The package takes compressed keys and keys without 04; trust files do not.
  const known = /^04[0-9a-f]{128}$/.test(key);
  const signature = bytes(c.signature).toString("hex");
  const verifies = known && (await attempt(() => sm2.doVerifySignature([...bytes(c.message)], signature, key, { der: true, hash: true })));
  return verifies === c.verifies;
});

// TUF: the trust repository of a bundle, down to the hub file; then the log's envelopes under its publisher keys.
function untar(data) {
  const files = {};
  for (let place = 0; data[place]; ) {
    const text = (start, length) => data.toString("utf8", place + start, place + start + length).replace(/\0.*$/s, "");
    const size = parseInt(text(124, 12), 8);
    const prefix = text(345, 155);
    files[(prefix ? `${prefix}/` : "") + text(0, 100)] = data.subarray(place + 512, place + 512 + size);
    place += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}
const sha256 = (data) => createHash("sha256").update(data).digest("hex");
function hub(files, code) {
  const read = (kind, name) => Metadata.fromJSON(kind, JSON.parse(files[`trust/${name}`]));
  const root = Metadata.fromJSON(MetadataKind.Root, JSON.parse(readFileSync(join(vectors, "bundles", "root.json"))));
  root.verifyDelegate("root", root);
  const timestamp = read(MetadataKind.Timestamp, "timestamp.json");
  root.verifyDelegate("timestamp", timestamp);
  const snapshot = read(MetadataKind.Snapshot, `${timestamp.signed.snapshotMeta.version}.snapshot.json`);
  root.verifyDelegate("snapshot", snapshot);
  const version = (role) => snapshot.signed.meta[`${role}.json`].version;
  const targets = read(MetadataKind.Targets, `${version("targets")}.targets.json`);
  root.verifyDelegate("targets", targets);
  const role = `prov-${code.slice(0, 2)}`;
  const province = read(MetadataKind.Targets, `${version(role)}.${role}.json`);
  targets.verifyDelegate(role, province);
  const path = `hubs/${code.slice(0, 2)}/${code}.json`;
  const target = province.signed.targets[path];
  if (!target) return null;
  const data = files[`trust/targets/hubs/${code.slice(0, 2)}/${target.hashes.sha256}.${code}.json`];
  if (sha256(data) !== target.hashes.sha256 || data.length !== target.length) throw new Error("target");
  return JSON.parse(data);
}
function* entries(files) {
  for (const [path, data] of Object.entries(files).filter(([name]) => name.includes("/tile/entries/"))) {
    for (let place = 0; place < data.length; place += 2 + data.readUInt16BE(place))
      yield data.subarray(place + 2, place + 2 + data.readUInt16BE(place));
  }
}
const index = load("bundles/index.json").cases;
// Those whose answer is about trust and publishers' signatures; the others are about later steps or damaged containers.
const TRUSTED = ["good", "v6-wrong-publisher", "v7-gap", "v8-withheld", "v1-hub-unknown"];
await judge(
  "bundles",
  index.filter((c) => TRUSTED.includes(c.name)),
  async (c) => {
    const files = untar(readFileSync(join(vectors, "bundles", c.file)));
    const found = hub(files, "430200");
    const [answer] = Object.values(c.expected.logs);
    if (found === null) return answer.verdict.includes("E-TRUST");
    const publishers = found.keys.filter((key) => key.role === "publisher").map((key) => bytes(key.public));
    const signed = [...entries(files)].map((entry) => publishers.some((raw) => signedBy(JSON.parse(entry), "ed25519", raw)));
    return signed.length > 0 && signed.every((good, i) => good === !answer.entries[i].includes("E-SIG"));
  },
);
console.log(JSON.stringify(result));
