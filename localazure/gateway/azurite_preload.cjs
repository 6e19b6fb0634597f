// Loaded into Azurite before its own code, so that what it has acknowledged outlives it.
"use strict";

const SAVE_MILLISECONDS = 100;

const Loki = require(require.resolve("lokijs", { paths: [process.argv[1]] }));
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
