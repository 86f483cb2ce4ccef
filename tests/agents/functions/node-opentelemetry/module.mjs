if (process.env.FAILS_AT_START) throw new TypeError("of the start");

export async function handler(event) {
  if (event.order === "none") throw new RangeError("no such order");
  return { order: event.order };
}
