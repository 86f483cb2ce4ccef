import { initTRPC, TRPCError } from "@trpc/server";
import { awsLambdaRequestHandler, awsLambdaStreamingRequestHandler } from "@trpc/server/adapters/aws-lambda";
import { steps } from "./steps.mjs";

const t = initTRPC.context().create();
const text = (value) => {
  if (typeof value !== "string") throw new TypeError("a text is wanted");
  return value;
};

const router = t.router({
  greet: t.procedure.input(text).query(({ input, ctx }) => {
    const field = ctx.event.headers["x-twice"] ?? ctx.event.multiValueHeaders?.["x-twice"];
    return { hello: input, cookies: ctx.event.cookies, field, hasId: ctx.context.awsRequestId.length === 36 };
  }),
  add: t.procedure.input(text).mutation(({ input }) => ({ added: input })),
  fail: t.procedure.query(() => {
    throw new TRPCError({ code: "NOT_FOUND", message: "no such order" });
  }),
  steps: t.procedure.query(async function* () {
    yield* steps();
  }),
});

const options = {
  router,
  createContext: ({ event, context }) => ({ event, context }),
  responseMeta() {
    const headers = new Headers({ "x-many": "1" });
    headers.append("x-many", "2");
    headers.append("set-cookie", "a=1");
    headers.append("set-cookie", "b=2; Path=/");
    return { headers };
  },
};

export const handler = awsLambdaRequestHandler(options);
export const streamed = awslambda.streamifyResponse(awsLambdaStreamingRequestHandler(options));
