// Express, as anywhere else.
import { createHash } from "node:crypto";
import cookieParser from "cookie-parser";
import express from "express";

const app = express();
// Fairlead connects from the loopback interface: from there X-Forwarded-* is believed, so that req.protocol and req.ip
// are the client's.
app.set("trust proxy", "loopback");
app.use(cookieParser());

app.get("/", (_request, response) => response.sendFile("page.html", { root: import.meta.dirname }));

app.get("/api/request", (request, response) => {
  response.json({
    runtime: `Node ${process.versions.node}`,
    method: request.method,
    url: `${request.protocol}://${request.get("host")}${request.originalUrl}`,
    query: [...new URLSearchParams(request.originalUrl.split(/\?(.*)/s)[1])],
    headers: Object.entries(request.headersDistinct).flatMap(([name, values]) => values.map((value) => [name, value])),
    client: request.ip,
  });
});

app.post("/api/bytes", express.raw({ type: "*/*", limit: "6mb" }), ({ body }, response) => {
  response.set({ "x-length": body.length, "x-sha256": createHash("sha256").update(body).digest("hex") });
  response.type("application/octet-stream").send(body);
});

app.get("/api/cookies", (request, response) => {
  response.cookie("theme", "dark", { maxAge: 86_400_000 });
  response.cookie("visited", "yes", { httpOnly: true });
  response.json(request.cookies);
});

app.post("/form", express.urlencoded(), ({ body }, response) => {
  response.json(Object.fromEntries(Object.entries(body).map(([name, values]) => [name, [values].flat()])));
});

const server = app.listen(process.env.PORT ?? 8080, "127.0.0.1");

process.on("SIGTERM", () => {
  server.close(() => console.log("stopped")); // answers what it has begun; then nothing is left to do, and Node ends
});
