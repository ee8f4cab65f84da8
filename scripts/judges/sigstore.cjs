// Judge: sigstore's verifier (npm @sigstore/verify), on a bundle's DSSE envelope.
// takes: bundle
// flip: bundle statement.dsse.json 40
// flip: bundle statement.dsse.json -20
"use strict";
const fs = require("fs");
const path = require("path");

function end(code, text) {
  console.log(text);
  process.exit(code);
}

let verify, bundles;
try {
  verify = require("@sigstore/verify");
  bundles = require("@sigstore/bundle");
} catch (error) {
  end(77, `not judged: ${error.message.split("\n")[0]}`);
}

const top = process.argv[2];
const place = path.join(top, "statement.dsse.json");
if (!fs.existsSync(place)) end(77, "not judged: the statement is not signed");

// The public keys, by the name that the envelope has for each.
const folder = path.join(top, "data/log/keys");
const texts = process.env.KEY
  ? process.env.KEY.split(/\s+/)
  : fs.readdirSync(folder).filter((name) => name.endsWith(".vkey")).map((name) => fs.readFileSync(path.join(folder, name), "utf8"));
const keys = {};
for (const text of texts.map((text) => text.trim()).filter(Boolean)) {
  const [name, id, ...rest] = text.split("+");
  const raw = Buffer.from(rest.join("+"), "base64").subarray(1);
  keys[`${name}+${id}`] = { rawBytes: Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw]) };
}

const held = [];
try {
  const envelope = JSON.parse(fs.readFileSync(place, "utf8"));
  const trust = verify.toTrustMaterial({ certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] }, keys);
  const verifier = new verify.Verifier(trust, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 });
  for (const signature of envelope.signatures.filter((signature) => keys[signature.keyid])) {
    const bundle = bundles.bundleFromJSON({
      mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
      verificationMaterial: { publicKey: { hint: signature.keyid }, tlogEntries: [], timestampVerificationData: { rfc3161Timestamps: [] } },
      dsseEnvelope: { ...envelope, signatures: [signature] },
    });
    verifier.verify(verify.toSignedEntity(bundle));
    held.push(signature.keyid);
  }
} catch (error) {
  end(1, `rejected: ${error.message}`);
}
if (held.length === 0) end(1, "rejected: no known key has signed the statement");
end(0, `accepted: signed by ${held.join(", ")}`);
