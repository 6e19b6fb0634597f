"use strict";
// Azurite loads its telemetry client even when it is started with --disableTelemetry, and then never calls it.
module.exports = {};
