// The end of a process in which something was thrown that nobody catches: as on Lambda's Node runtime it ends, with the
// statuses that this has for it. Whoever is being answered gets the answer first, and whoever asks next waits for the
// next process.

import { once } from "node:events";
import process from "node:process";
import { unhandledRejection } from "./errors.mjs";

const UNHANDLED_REJECTION_STATUS = 128;
const UNCAUGHT_EXCEPTION_STATUS = 129;
const LAST_ANSWERS_MS = 1000;
export const UNHANDLED_REJECTION = "Unhandled Promise Rejection";

/** Whether an answer has to say that nobody can be asked on its connection any more. */
export let isEnding = false;

/** Call `then` when it is known whether a promise was left rejected: so an answer can still tell of it. */
export function afterRejections(then) {
  setImmediate(then);
}

async function leave(status, closed) {
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, LAST_ANSWERS_MS))]);
  process.exit(status);
}

/**
 * End the process when something is thrown that nobody catches.
 *
 * `close` lets nobody else in, and gives a promise for the time when all answers are sent. `tell(words, error)` logs what
 * has happened, and answers those who wait. While `isStarting()`, nobody was served yet, and `report(error)` posts it as
 * the init error and ends the process.
 */
export function endOnErrors(close, tell, isStarting, report) {
  function end(status, words, error) {
    if (isStarting()) {
      close();
      report(words === UNHANDLED_REJECTION ? unhandledRejection(error) : error);
      return;
    }
    if (!isEnding) {
      isEnding = true;
      leave(status, close()); // before anything is written, which takes its time
    }
    tell(words, error);
  }
  process.on("uncaughtException", (error) => end(UNCAUGHT_EXCEPTION_STATUS, "Uncaught Exception", error));
  process.on("unhandledRejection", (reason) => end(UNHANDLED_REJECTION_STATUS, UNHANDLED_REJECTION, reason));
}

/** Returns a `close` for a server of node:http. */
export function closerOf(server) {
  const answering = new Set();
  server.on("request", (_incoming, outgoing) => {
    answering.add(outgoing);
    outgoing.on("close", () => answering.delete(outgoing));
  });
  return async () => {
    server.close();
    await Promise.all([...answering].map((outgoing) => once(outgoing, "close")));
    server.closeAllConnections();
  };
}

/** Returns a `close` for a server of Bun's. */
export function closerOnBun(server) {
  return async () => {
    await server.stop();
    await server.stop(true);
  };
}
