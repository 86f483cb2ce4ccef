// Oak on Deno.
import { Application, Router } from "oak";

const page = await Deno.readTextFile(new URL("./page.html", import.meta.url));
const router = new Router();

router.get("/", ({ response }) => {
  response.type = "html";
  response.body = page;
});

router.get("/api/request", ({ request, response }) => {
  response.body = {
    runtime: `Deno ${Deno.version.deno}`,
    method: request.method,
    url: request.url.href,
    query: [...request.url.searchParams],
    headers: [...request.headers],
    // The last address is the one that AWS has seen; those before it are the client's own words.
    client: request.ips.at(-1),
  };
});

router.post("/api/bytes", async ({ request, response }) => {
  const body = new Uint8Array(await request.body.arrayBuffer());
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
  response.type = "application/octet-stream";
  response.headers.set("x-length", `${body.length}`);
  response.headers.set("x-sha256", hash.toHex());
  response.body = body;
});

router.get("/api/cookies", async ({ cookies, response }) => {
  const received: Record<string, string> = {};
  for await (const [name, value] of cookies) received[name] = value;
  await cookies.set("theme", "dark", { httpOnly: false, expires: new Date(Date.now() + 86_400_000) });
  await cookies.set("visited", "yes", { httpOnly: true });
  response.body = received;
});

router.post("/form", async ({ request, response }) => {
  const fields = await request.body.form();
  response.body = Object.fromEntries([...fields.keys()].map((name) => [name, fields.getAll(name)]));
});

// Behind Fairlead the scheme, the port and the client's address are in X-Forwarded-*: `proxy` lets Oak read them.
const app = new Application({ proxy: true });
app.use(router.routes());
app.use(router.allowedMethods());

// The build runs this file as far as here, so that the compiled code is in the cache. It ends by itself: a build that
// has to be interrupted may hang.
if (Deno.args.includes("--warm-up")) Deno.exit(0);

// Deno's own server, and not app.listen(): Oak's npm package takes Deno for Node, and its server for Node drops all
// Set-Cookie fields but the last. Its Response is another class than Deno's, too.
const server = Deno.serve(
  { hostname: "127.0.0.1", port: Number(Deno.env.get("PORT") ?? 8080), onListen: () => {} },
  async (request, { remoteAddr }) => {
    // @ts-expect-error: in this package a Request is undici's
    const answer = await app.handle(request, remoteAddr);
    if (!answer) return new Response("not found\n", { status: 404 });
    return new Response(answer.body, { status: answer.status, headers: [...answer.headers] });
  },
);

Deno.addSignalListener("SIGTERM", async () => {
  await server.shutdown(); // answers what it has begun
  console.log("stopped");
  Deno.exit(0);
});
