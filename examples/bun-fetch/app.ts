// A function from Request to Response: all that Bun needs. It reads PORT by itself.
const page = await Bun.file(new URL("./page.html", import.meta.url)).text();

async function bytes(request: Request): Promise<Response> {
  const body = await request.bytes();
  const sha256 = new Bun.CryptoHasher("sha256").update(body).digest("hex");
  return new Response(body, {
    headers: { "content-type": "application/octet-stream", "x-length": `${body.length}`, "x-sha256": sha256 },
  });
}

function cookies(request: Request): Response {
  const jar = new Bun.CookieMap(request.headers.get("cookie") ?? "");
  const received = jar.toJSON();
  jar.set("theme", "dark", { maxAge: 86400 });
  jar.set("visited", "yes", { httpOnly: true });
  const headers = new Headers({ "content-type": "application/json" });
  for (const cookie of jar.toSetCookieHeaders()) headers.append("set-cookie", cookie); // each in a field of its own
  return new Response(JSON.stringify(received), { headers });
}

async function form(request: Request): Promise<Response> {
  const fields = await request.formData();
  return Response.json(Object.fromEntries([...fields.keys()].map((name) => [name, fields.getAll(name)])));
}

function described(request: Request): Response {
  return Response.json({
    runtime: `Bun ${Bun.version}`,
    method: request.method,
    url: request.url,
    query: [...new URL(request.url).searchParams],
    headers: [...request.headers],
    // The last address is the one that AWS has seen; those before it are the client's own words.
    client: request.headers.get("x-forwarded-for")?.split(",").at(-1)?.trim(),
  });
}

const routes: Record<string, (request: Request) => Response | Promise<Response>> = {
  "GET /": () => new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } }),
  "GET /api/request": described,
  "POST /api/bytes": bytes,
  "GET /api/cookies": cookies,
  "POST /form": form,
};

process.on("SIGTERM", () => {
  console.log("stopped");
  process.exit(0);
});

export default {
  hostname: "127.0.0.1",
  fetch(request: Request): Response | Promise<Response> {
    const route = routes[`${request.method} ${new URL(request.url).pathname}`];
    return route ? route(request) : new Response("not found\n", { status: 404 });
  },
};
