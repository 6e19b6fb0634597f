// Loaded into Azurite before its own code: what it has acknowledged outlives it, and a forged token opens nothing.
"use strict";

const SAVE_MILLISECONDS = 100;

const ofAzurite = (name) => require(require.resolve(name, { paths: [process.argv[1]] }));

const Loki = ofAzurite("lokijs");
const enable = Loki.prototype.autosaveEnable;
// Its index of blobs is written every 5 s; a process that is killed in between would lose uploads that were answered.
Loki.prototype.autosaveEnable = function (options, callback) {
  this.autosaveInterval = SAVE_MILLISECONDS;
  return enable.call(this, options, callback);
};

// It listens for each of these once: a second one would end it in the middle of writing its index.
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {});
}

// It reads a token's claims without looking at who signed them.
const jwt = ofAzurite("jsonwebtoken");
const decode = jwt.decode;
const key = process.env.LOCALAZURE_TOKEN_KEY;
jwt.decode = function (token, options) {
  try {
    // The times are Azurite's to judge; so it says in its own words that a token has expired.
    jwt.verify(token, key, { algorithms: ["RS256"], ignoreExpiration: true, ignoreNotBefore: true });
  } catch {
    return null;
  }
  return decode(token, options);
};
