// Bun's own server and router. On SIGTERM it answers what it has begun and ends.
const page = await Bun.file(new URL("./page.html", import.meta.url)).text();

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: process.env.PORT ?? 8080,
  routes: {
    "/": new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } }),
    "/api/request": (request) =>
      Response.json({
        runtime: `Bun ${Bun.version}`,
        method: request.method,
        url: request.url,
        query: [...new URL(request.url).searchParams],
        headers: [...request.headers],
        // The last address is the one that AWS has seen; those before it are the client's own words.
        client: request.headers.get("x-forwarded-for")?.split(",").at(-1)?.trim(),
      }),
    "/api/bytes": {
      POST: async (request) => {
        const body = await request.bytes();
        const sha256 = new Bun.CryptoHasher("sha256").update(body).digest("hex");
        return new Response(body, {
          headers: { "content-type": "application/octet-stream", "x-length": `${body.length}`, "x-sha256": sha256 },
        });
      },
    },
    "/api/cookies": (request) => {
      const received = request.cookies.toJSON();
      request.cookies.set("theme", "dark", { maxAge: 86400 }); // Bun adds these to the response
      request.cookies.set("visited", "yes", { httpOnly: true });
      return Response.json(received);
    },
    "/form": {
      POST: async (request) => {
        const fields = await request.formData();
        return Response.json(Object.fromEntries([...fields.keys()].map((name) => [name, fields.getAll(name)])));
      },
    },
  },
  fetch: () => new Response("not found\n", { status: 404 }),
});

process.on("SIGTERM", async () => {
  await server.stop();
  console.log("stopped");
  process.exit(0);
});
