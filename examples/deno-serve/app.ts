// For `deno serve`: a function from Request to Response.
const page = await Deno.readTextFile(new URL("./page.html", import.meta.url));

async function bytes(request: Request): Promise<Response> {
  const body = await request.bytes();
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
  return new Response(body, {
    headers: { "content-type": "application/octet-stream", "x-length": `${body.length}`, "x-sha256": hash.toHex() },
  });
}

function cookies(request: Request): Response {
  const received = (request.headers.get("cookie") ?? "").split("; ").filter(Boolean);
  const headers = new Headers();
  headers.append("set-cookie", "theme=dark; Path=/; Max-Age=86400");
  headers.append("set-cookie", "visited=yes; Path=/; HttpOnly");
  return Response.json(Object.fromEntries(received.map((cookie) => cookie.split(/=(.*)/s, 2))), { headers });
}

async function form(request: Request): Promise<Response> {
  const fields = await request.formData();
  return Response.json(Object.fromEntries([...fields.keys()].map((name) => [name, fields.getAll(name)])));
}

function described(request: Request): Response {
  return Response.json({
    runtime: `Deno ${Deno.version.deno}`,
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

Deno.addSignalListener("SIGTERM", () => {
  console.log("stopped");
  Deno.exit(0);
});

export default {
  fetch(request: Request): Response | Promise<Response> {
    const route = routes[`${request.method} ${new URL(request.url).pathname}`];
    return route ? route(request) : new Response("not found\n", { status: 404 });
  },
};
