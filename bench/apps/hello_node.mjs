import { createServer } from "node:http";

createServer((request, response) => {
  response.setHeader("content-type", "application/json");
  response.end('{"message":"hello, world!"}');
}).listen(process.env.PORT, "127.0.0.1");
