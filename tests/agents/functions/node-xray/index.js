const xray = require("aws-xray-sdk-core");

if (process.env.FAILS_AT_START) throw new TypeError("of the start");

exports.handler = (event) =>
  xray.captureAsyncFunc("## handler", async (segment) => {
    try {
      if (event.order === "none") throw new RangeError("no such order");
      segment.addAnnotation("order", event.order);
      segment.close();
      return { order: event.order };
    } catch (error) {
      segment.close(error);
      throw error;
    }
  });
