const apm = require("elastic-apm-node").start();

if (process.env.FAILS_AT_START) throw new TypeError("of the start");

exports.handler = apm.lambda(async (event) => {
  if (event.order === "none") throw new RangeError("no such order");
  return { order: event.order };
});
