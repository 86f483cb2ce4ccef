const Sentry = require("@sentry/aws-serverless");

Sentry.init({ dsn: process.env.SENTRY_DSN, skipOpenTelemetrySetup: true });

if (process.env.FAILS_AT_START) throw new TypeError("of the start");

exports.handler = Sentry.wrapHandler(async (event) => {
  if (event.order === "none") throw new RangeError("no such order");
  return { order: event.order };
});
