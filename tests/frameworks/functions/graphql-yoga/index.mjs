import { pipeline } from "node:stream/promises";
import { createSchema, createYoga } from "graphql-yoga";
import { steps } from "./steps.mjs";

const yoga = createYoga({
  logging: "error",
  schema: createSchema({
    typeDefs: /* GraphQL */ `
      type Query {
        hello(name: String!): String
        field: String
        fail: String
      }
      type Mutation {
        size(file: File!): Int
        add(name: String!): String
      }
      type Subscription {
        steps: String
      }
      scalar File
    `,
    resolvers: {
      Query: {
        hello: (_, { name }) => `hello ${name}`,
        field: (_, __, { event, lambdaContext }) => `${event.headers["x-twice"]} ${lambdaContext.awsRequestId.length}`,
        fail: () => {
          throw new Error("of the resolver");
        },
      },
      Mutation: {
        add: (_, { name }) => `added ${name}`,
        size: async (_, { file }) => (await file.arrayBuffer()).byteLength,
      },
      Subscription: { steps: { subscribe: steps, resolve: (piece) => piece } },
    },
  }),
  plugins: [
    {
      onResponse({ response }) {
        response.headers.append("set-cookie", "a=1");
        response.headers.append("set-cookie", "b=2");
      },
    },
  ],
});

function ask(event, lambdaContext, res) {
  return yoga.fetch(
    `https://${event.requestContext.domainName}${event.requestContext.http.path}?${event.rawQueryString}`,
    {
      method: event.requestContext.http.method,
      headers: event.headers,
      body: event.body && event.isBase64Encoded ? Buffer.from(event.body, "base64") : event.body,
    },
    { event, lambdaContext, res },
  );
}

function metadata(response) {
  const { "set-cookie": _, ...headers } = Object.fromEntries(response.headers);
  return { statusCode: response.status, headers, cookies: response.headers.getSetCookie() };
}

export const streamed = awslambda.streamifyResponse(async (event, res, lambdaContext) => {
  const response = await ask(event, lambdaContext, res);
  res = awslambda.HttpResponseStream.from(res, metadata(response));
  if (response.body) await pipeline(response.body, res);
  else res.end();
});

export async function handler(event, lambdaContext) {
  const response = await ask(event, lambdaContext);
  return { ...metadata(response), body: await response.text(), isBase64Encoded: false };
}
