module.exports.handler = async () => typeof require;
