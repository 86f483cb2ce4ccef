// A module of the kind that Bun, Deno Deploy and Workers run.
const pieces = [1, 2, 3];

export default {
  async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === "/throw") throw new RangeError("out of reach");
    if (url.pathname === "/nothing") return undefined as unknown as Response;
    if (url.pathname === "/stream") {
      const stream = new ReadableStream({
        async start(controller) {
          for (const piece of pieces) controller.enqueue(new TextEncoder().encode(`data: ${piece}\n\n`));
          controller.close();
        },
      });
      return new Response(stream, { headers: { "content-type": "text/event-stream" } });
    }
    if (url.pathname === "/endless") {
      request.signal.addEventListener("abort", () => console.log("the client has gone"));
      let timer: ReturnType<typeof setInterval>;
      const stream = new ReadableStream({
        start(controller) {
          timer = setInterval(() => controller.enqueue(new TextEncoder().encode("more\n")), 5);
        },
        cancel: () => clearInterval(timer),
      });
      return new Response(stream);
    }
    const body = new Uint8Array(await request.arrayBuffer());
    const answer = Response.json({
      method: request.method,
      url: request.url,
      query: url.searchParams.getAll("q"),
      host: request.headers.get("host"),
      cookie: request.headers.get("cookie"),
      repeated: request.headers.get("x-repeated"),
      octets: [...body],
    });
    answer.headers.append("set-cookie", "a=1; Path=/");
    answer.headers.append("set-cookie", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT");
    return answer;
  },
};
