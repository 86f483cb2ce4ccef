// Functions as Lambda's Node runtime has them.
export async function handler(event, context) {
  if (event.fail) throw new TypeError("no such thing");
  return { event, id: context.awsRequestId, arn: context.invokedFunctionArn, left: context.getRemainingTimeInMillis() };
}

export function callback(event, context, done) {
  setTimeout(() => (event.fail ? done(new Error("called back")) : done(null, event)), 1);
}

export const nothing = async () => {};
export const notAFunction = 5;
