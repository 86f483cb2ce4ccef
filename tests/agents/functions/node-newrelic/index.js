if (process.env.FAILS_AT_START) throw new TypeError("of the start");

exports.handler = async (event) => {
  if (event.order === "none") throw new RangeError("no such order");
  return { order: event.order };
};
