import { createHash } from "node:crypto";
import { createServer } from "node:http";

createServer((request, response) => {
  let digest = "";
  for (let turn = 0; turn < 50; turn++) digest = createHash("sha3-512").update(digest + turn).digest("hex");
  response.setHeader("content-type", "text/plain");
  response.end(digest);
}).listen(process.env.PORT, "127.0.0.1");
