// Stands in for the native part of aws-lambda-ric, which has to be compiled: posts and returns when that is answered.
const { Worker } = require("node:worker_threads");

const SOURCE = `
  const http = require("node:http");
  const { parentPort, workerData } = require("node:worker_threads");
  const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
  parentPort.on("message", ({ path, body, headers }) => {
    const answered = () => (Atomics.store(workerData, 0, 1), Atomics.notify(workerData, 0));
    const request = http.request({ hostname, port, path, method: "POST", headers }, (response) => response.resume().on("end", answered));
    request.on("error", answered);
    request.end(body);
  });
`;

const flag = new Int32Array(new SharedArrayBuffer(4));
const worker = new Worker(SOURCE, { eval: true, workerData: flag });
worker.unref();

function post(id, kind, body, headers) {
  if (typeof body !== "string") throw new TypeError("Wrong arguments");
  Atomics.store(flag, 0, 0);
  const octets = Buffer.from(body);
  const fields = { "Content-Type": "application/json", "Content-Length": octets.length, ...headers };
  worker.postMessage({ path: `/2018-06-01/runtime/invocation/${id}/${kind}`, body: octets, headers: fields });
  Atomics.wait(flag, 0, 0);
}

exports.done = (id, body) => post(id, "response", body, {});
exports.error = (id, body, cause) => post(id, "error", body, {});
