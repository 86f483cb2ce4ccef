import { createHash } from "node:crypto";
import type { APIRoute } from "astro";

/** The size and the digest of an uploaded file, or of a body as it is: every byte has to arrive. */
export const POST: APIRoute = async ({ request }) => {
  const isForm = request.headers.get("content-type")?.startsWith("multipart/form-data");
  const content = isForm ? (await request.formData()).get("file") : await request.blob();
  if (!(content instanceof Blob)) return new Response("no file", { status: 400 });
  const bytes = new Uint8Array(await content.arrayBuffer());
  return Response.json({ bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") });
};
