import { boolean, em, entity, libsql, pg, text } from "bknd";
import { sqlite } from "bknd/adapter/sqlite";
import manifest from "bknd/dist/manifest.json" with { type: "json" };
import { Pool } from "pg";

const { DB_URL, DB_TOKEN, JWT_SECRET, ADMIN_EMAIL, ADMIN_PASSWORD, ASSETS_URL, DESIGN } = process.env;

// Without DB_URL this is a demonstration: its data is in /tmp, and gone with the environment.
if (DB_URL && !(JWT_SECRET?.length >= 32 && ADMIN_PASSWORD)) {
  throw new Error("DB_URL needs JWT_SECRET (32 characters or more; whoever knows it is anybody) and ADMIN_PASSWORD");
}

/** Made once, at the start: all requests of an environment share it. */
function connection(url) {
  if (/^postgres(ql)?:/.test(url)) {
    // One connection is enough: an environment serves one request at a time.
    const pool = new Pool({ connectionString: url, max: 1, idleTimeoutMillis: 0 });
    // A connection that breaks would end the process, idle or not, if nobody listened.
    const note = (error) => console.warn(`Postgres: ${error.message}`);
    pool.on("error", note).on("connect", (client) => client.on("error", note));
    return pg({ pool });
  }
  if (/^(libsql|https?):/.test(url)) return libsql({ url, authToken: DB_TOKEN });
  return sqlite({ url: url.replace(/^file:/, "") }); // a path below /tmp, or ":memory:"; Bun takes no file: for a path
}

/** Between two requests Lambda freezes an environment, and its connection may be closed meanwhile. The first query
 * afterwards would fail; after a pause it is therefore one that may, and what follows has a new connection. */
function waker(app) {
  let last = Date.now();
  const wake = async (_context, next) => {
    if (Date.now() - last > 1000) await app.connection.ping().catch(() => {});
    await next();
    last = Date.now();
  };
  return { name: "waker", onServerInit: (server) => server.use(wake) };
}

export default {
  connection: connection(DB_URL ?? "/tmp/demonstration.db"),
  // The first start with an empty database writes this into it. From then on the database's own version counts.
  config: {
    data: em({ todos: entity("todos", { title: text().required(), done: boolean() }) }).toJSON(),
    auth: {
      enabled: true,
      allow_register: false,
      jwt: { secret: JWT_SECRET ?? "a demonstration has no secrets, so no secret" },
      guard: { enabled: true }, // without it everybody may read and write everything
      roles: { admin: { implicit_allow: true } },
    },
  },
  options: {
    // Each environment knows the entities as they were when it started, and a change writes all of them: one that was
    // made in another environment would be undone. So entities are changed where there is one, with DESIGN=true.
    readonly: Boolean(DB_URL) && DESIGN !== "true",
    plugins: [waker],
    seed: async ({ app, em }) => {
      const [email, password] = [ADMIN_EMAIL ?? "admin@example.com", ADMIN_PASSWORD ?? "demonstration"];
      await app.createUser({ email, password, role: "admin" });
      await em.mutator("todos").insertOne({ title: "Put bknd on Lambda", done: true });
    },
  },
  // The admin's scripts and styles: dist/static, or where you have put a copy of it.
  adminOptions: ASSETS_URL ? { assetsPath: ASSETS_URL, manifest } : { manifest },
};
