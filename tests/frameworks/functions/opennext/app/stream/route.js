import { stepStream } from "../../steps.mjs";

export const dynamic = "force-dynamic";

export function GET() {
  return new Response(stepStream(), { headers: { "content-type": "text/plain" } });
}
