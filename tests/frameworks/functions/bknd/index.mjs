import { boolean, em, entity, text } from "bknd";
import { serveLambda } from "bknd/adapter/aws";
import { sqlite } from "bknd/adapter/sqlite";

export const handler = serveLambda({
  connection: sqlite({ url: ":memory:" }),
  config: { data: em({ todos: entity("todos", { title: text().required(), done: boolean() }) }).toJSON() },
  options: {
    plugins: [
      () => ({
        name: "cookies",
        onServerInit(server) {
          server.get("/items", (c) => {
            c.header("set-cookie", "a=1");
            c.header("set-cookie", "b=2", { append: true });
            return c.json({ query: c.req.queries(), cookie: c.req.header("cookie"), field: c.req.header("x-twice") });
          });
          server.post("/binary", async (c) => c.body(await c.req.arrayBuffer(), 201, { "content-type": "image/png" }));
          server.get("/fail", () => {
            throw new Error("of the route");
          });
        },
      }),
    ],
  },
});
