"use strict";
// Azurite's SQL metadata store subclasses Model when it is loaded; it opens a connection only when AZURITE_DB is set.
class Sequelize {
  constructor() {
    throw new Error("This Azurite keeps its metadata in files: unset AZURITE_DB.");
  }
}
module.exports = { Model: class Model {}, Sequelize };
