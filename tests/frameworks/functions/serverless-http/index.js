const express = require("express");
const serverless = require("serverless-http");

const app = express();

app.get("/items", (request, response) => {
  response.cookie("a", "1").cookie("b", "2").append("x-many", ["1", "2"]);
  response.json({ query: request.query, cookies: request.headers.cookie, field: request.headers["x-twice"] });
});
app.post("/binary", express.raw({ type: () => true, limit: "6mb" }), (request, response) => {
  response.status(201).type("image/png").send(request.body);
});
app.get("/fail", () => {
  throw new Error("of the route");
});

module.exports.handler = serverless(app, { binary: ["image/*"] });

// An error before the app has it fails the invocation.
module.exports.failing = serverless(app, {
  request() {
    throw new RangeError("before the app");
  },
});
