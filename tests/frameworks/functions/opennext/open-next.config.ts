// OpenNext's server function, and one of the same kind that streams. Both have caches that hold nothing: the default
// ones ask a bucket, a table and a queue of AWS.
const caches = { incrementalCache: "dummy", tagCache: "dummy", queue: "dummy" };

export default {
  default: { override: caches },
  functions: {
    streaming: { routes: ["app/stream/route"], patterns: ["/stream"], override: { ...caches, wrapper: "aws-lambda-streaming" } },
  },
  buildCommand: "npx next build",
};
