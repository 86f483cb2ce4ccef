if (process.env.FAILS_AT_START) throw new TypeError("of the start");

exports.handler = (event, context, callback) => {
  if (event.order === "none") callback(new RangeError("no such order"));
  else callback(null, { order: event.order });
};
