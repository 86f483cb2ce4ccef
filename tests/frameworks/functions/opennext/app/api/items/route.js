import { cookies } from "next/headers";

export async function GET(request) {
  if (request.nextUrl.searchParams.has("fail")) throw new Error("of the route");
  const jar = await cookies();
  jar.set("a", "1", { path: "/" });
  jar.set("b", "2", { path: "/" });
  const seen = request.cookies.getAll().map(({ name, value }) => `${name}=${value}`);
  return Response.json({ query: request.nextUrl.search, cookies: seen, field: request.headers.get("x-twice") });
}

export async function POST(request) {
  return new Response(await request.arrayBuffer(), { headers: { "content-type": "image/png" } });
}
