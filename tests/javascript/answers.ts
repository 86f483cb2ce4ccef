// Answers of every kind, and ways to go wrong, for `answers.fetch`.

const octets = new TextEncoder();

function soon(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function usedUp(): Promise<Response> {
  const response = new Response("read already");
  await response.text();
  return response;
}

function inTheMiddle(fail: (controller: ReadableStreamDefaultController) => void): Response {
  const start = (controller: ReadableStreamDefaultController) => {
    controller.enqueue(octets.encode("first"));
    setTimeout(() => fail(controller));
  };
  return new Response(new ReadableStream({ start }));
}

function throwSoon(): void {
  setTimeout(() => {
    throw new Error("thrown by a timer");
  });
}

function endless(): Response {
  return new Response(new ReadableStream({ pull: (controller) => controller.enqueue(octets.encode("more")) }));
}

function rejectBeside(answer: Response | Promise<Response>): Response | Promise<Response> {
  Promise.reject(new Error("nobody waits"));
  return answer;
}

const PATHS: Record<string, (request: Request, native: any, context: any) => any> = {
  "/": () => new Response("fine"),
  "/status-204": () => new Response(null, { status: 204 }),
  "/status-205": () => new Response(null, { status: 205 }),
  "/status-304": () => new Response(null, { status: 304, headers: { etag: '"a"' } }),
  "/redirect": () => Response.redirect("https://x.example/a?b=1", 302),
  "/wrong-length": () => new Response("abc", { headers: { "content-length": "10" } }),
  "/own-framing": () => new Response("abc", { headers: { "transfer-encoding": "chunked", connection: "close" } }),
  "/sub-class": () => new (class extends Response {})("sub"),
  "/later": (_request, _native, context) => {
    context.waitUntil(soon(1));
    return new Response("ok");
  },
  "/later-redirect": (_request, _native, context) => {
    context.waitUntil(soon(1));
    return Response.redirect("https://x.example/", 303);
  },
  "/later-throws": (_request, _native, context) => {
    context.waitUntil(soon(1).then(() => Promise.reject(new Error("in the background"))));
    return new Response("ok");
  },
  "/endless": endless,
  "/error-response": () => Response.error(),
  "/switching": () => new Response(null, { status: 101 }),
  "/used-up": usedUp,
  "/plain-object": () => ({ status: 200 }),
  "/null": () => null,
  "/throws-null": () => Promise.reject(null),
  "/deno-upgrade": (request) => (globalThis as any).Deno.upgradeWebSocket(request).response,
  "/bun-upgrade": (request, server) => (server?.upgrade?.(request) ? undefined : new Response("no upgrade")),
  "/breaks": () => inTheMiddle((controller) => controller.error(new Error("broken"))),
  "/rejected": () => rejectBeside(soon(5000).then(() => new Response("late"))),
  "/rejected-beside": () => rejectBeside(new Response("answered")),
  "/thrown": () => {
    throwSoon();
    return soon(5000).then(() => new Response("late"));
  },
  "/thrown-in-stream": () => inTheMiddle(throwSoon),
  "/exits": () => (process.exit(3), new Response("never")),
};

export default {
  fetch(request: Request, native: any, context: any) {
    const answer = PATHS[new URL(request.url).pathname];
    return answer ? answer(request, native, context) : new Response("?", { status: 404 });
  },
  websocket: { message() {} },
};
