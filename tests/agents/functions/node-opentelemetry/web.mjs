export function fetch(request) {
  const order = new URL(request.url).pathname.split("/").at(-1);
  if (order === "none") throw new RangeError("no such order");
  return Response.json({ order, trace: request.headers.get("x-amzn-trace-id") });
}
