// Checks C2SP proofs of the audit log with npm's `@sigstore/verify`, which knows nothing of this project: the signed note,
// the checkpoint in it and the RFC 6962 inclusion proof. Arguments: the log's vkey, then files. Prints what it found as JSON.
import { createRequire } from "node:module";
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";

const require = createRequire(import.meta.url);
const { verifyCheckpoint } = require("@sigstore/verify/dist/tlog/checkpoint.js");
const { verifyMerkleInclusion } = require("@sigstore/verify/dist/tlog/merkle.js");

const [vkey, ...files] = process.argv.slice(2);
// The name and the id have no plus sign; the key in base64 may.
const [, name, id, key] = vkey.match(/^([^+]+)\+([^+]+)\+(.+)$/);
// The DER of an Ed25519 key is a fixed head and the 32 bytes behind the note's type byte.
const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(key, "base64").subarray(1)]);
const log = {
  logID: Buffer.from(id, "hex"),
  baseURL: name,
  publicKey: createPublicKey({ key: der, format: "der", type: "spki" }),
};

function entry(text) {
  const end = text.indexOf("\n\n");
  const [head, extra, index, ...hashes] = text.slice(0, end).split("\n");
  if (head !== "c2sp.org/tlog-proof@v1") throw new Error(head);
  return {
    canonicalizedBody: Buffer.from(extra.replace(/^extra /, ""), "base64"),
    inclusionProof: {
      logIndex: index.replace(/^index /, ""),
      hashes: hashes.map((hash) => Buffer.from(hash, "base64")),
      checkpoint: { envelope: text.slice(end + 2) },
    },
  };
}

function check(entry) {
  try {
    const checkpoint = verifyCheckpoint(entry, [log]);
    verifyMerkleInclusion(entry, checkpoint);
    return { proven: true, origin: checkpoint.origin, size: Number(checkpoint.logSize) };
  } catch (error) {
    return { proven: false, why: error.message };
  }
}

const found = files.map((file) => {
  const good = entry(readFileSync(file, "utf8"));
  const other = { ...good, canonicalizedBody: Buffer.concat([good.canonicalizedBody, Buffer.from(" ")]) };
  const envelope = good.inclusionProof.checkpoint.envelope.replace(/\n(\d+)\n/, "\n1$1\n");
  const resized = { ...good, inclusionProof: { ...good.inclusionProof, checkpoint: { envelope } } };
  return {
    index: Number(good.inclusionProof.logIndex),
    leaf: JSON.parse(good.canonicalizedBody.toString("utf8")),
    check: check(good),
    other_leaf: check(other),
    other_checkpoint: check(resized),
  };
});
console.log(JSON.stringify(found));
