// Hono on Bun, which serves what is exported and reads PORT by itself.
import { Hono } from "hono";
import { getCookie, setCookie } from "hono/cookie";

const page = await Bun.file(new URL("./page.html", import.meta.url)).text();
const app = new Hono();

app.get("/", (c) => c.html(page));

app.get("/api/request", (c) =>
  c.json({
    runtime: `Bun ${Bun.version}`,
    method: c.req.method,
    url: c.req.url,
    query: [...new URL(c.req.url).searchParams],
    headers: [...c.req.raw.headers],
    // The last address is the one that AWS has seen; those before it are the client's own words.
    client: c.req.header("x-forwarded-for")?.split(",").at(-1)?.trim(),
  }),
);

app.post("/api/bytes", async (c) => {
  const body = await c.req.arrayBuffer();
  const sha256 = new Bun.CryptoHasher("sha256").update(body).digest("hex");
  return c.body(body, 200, {
    "content-type": "application/octet-stream",
    "x-length": `${body.byteLength}`,
    "x-sha256": sha256,
  });
});

app.get("/api/cookies", (c) => {
  setCookie(c, "theme", "dark", { maxAge: 86400 });
  setCookie(c, "visited", "yes", { httpOnly: true });
  return c.json(getCookie(c));
});

app.post("/form", async (c) => {
  const fields = await c.req.formData();
  return c.json(Object.fromEntries([...fields.keys()].map((name) => [name, fields.getAll(name)])));
});

process.on("SIGTERM", () => {
  console.log("stopped");
  process.exit(0);
});

export default { hostname: "127.0.0.1", fetch: app.fetch };
