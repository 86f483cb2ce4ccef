const { basename } = require("node:path");
exports.handler = async () => basename(__filename);
module.exports.nested = { deep: { handler: async () => "deep" } };
