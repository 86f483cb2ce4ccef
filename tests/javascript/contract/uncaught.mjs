// What no handler catches.
const UNCAUGHT = {
  rejection: () => void Promise.reject(Object.assign(new Error("nobody waits"), { name: "Lost" })),
  "rejected text": () => void Promise.reject("text"),
  exception: () => void setTimeout(() => { throw new RangeError("in a timer"); }, 1),
  exit: () => process.exit(3),
  never: () => {},
};

export const handler = (event) => {
  UNCAUGHT[event.uncaught]?.();
  return event.uncaught && !event.answers ? new Promise(() => {}) : Promise.resolve("well");
};

export const calls = (event, context, callback) => {
  UNCAUGHT[event.uncaught]?.();
  if (event.answers === "soon") setTimeout(() => callback(null, "well"));
  else callback(null, "well");
};
