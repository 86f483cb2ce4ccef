const http = require("node:http");

function answer(request, response) {
  const order = request.url.split("/").at(-1);
  if (order === "none") throw new RangeError("no such order");
  response.end(JSON.stringify({ order, trace: request.headers["x-amzn-trace-id"] }));
}

http
  .createServer((request, response) => {
    try {
      answer(request, response);
    } catch {
      response.writeHead(500).end();
    }
  })
  .listen(process.env.PORT, "127.0.0.1");
