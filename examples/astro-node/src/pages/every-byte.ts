import type { APIRoute } from "astro";

/** 1 KiB in which every byte value occurs. */
export const GET: APIRoute = () =>
  new Response(Uint8Array.from({ length: 1024 }, (_, index) => index % 256), {
    headers: { "content-type": "application/octet-stream" },
  });
