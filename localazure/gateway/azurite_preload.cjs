// Loaded into Azurite before its own code: what it has acknowledged outlives it, and a forged token opens nothing.
"use strict";

const SAVE_MILLISECONDS = 100;

const path = require("path");

const ofAzurite = (name) => require(require.resolve(name, { paths: [process.argv[1]] }));
const within = (name) => require(path.join(path.dirname(process.argv[1]), name)).default;

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

// An account that takes no keys has one all the same, which Local Azure tells nobody: whoever else signs has another.
if (process.env.LOCALAZURE_KEYLESS) {
  const Authentication = within("middlewares/AuthenticationMiddlewareFactory");
  const StorageError = within("errors/StorageError");
  const message = "Key based authentication is not permitted on this storage account.";
  const signs = (request) =>
    (request.getHeader("authorization") || "").startsWith("SharedKey") ||
    (request.getQuery("sig") && !request.getQuery("skoid"));
  const authenticate = Authentication.prototype.authenticate;
  Authentication.prototype.authenticate = async function (context, request, ...rest) {
    const passes = authenticate.call(this, context, request, ...rest);
    if (!signs(request)) return passes;
    if (await passes.catch(() => false)) return true;
    throw new StorageError(403, "KeyBasedAuthenticationNotPermitted", message, context.contextId);
  };
}
