// As the documentation of @opentelemetry/instrumentation-aws-lambda has it, with what instruments node:http beside it.
const { NodeSDK } = require("@opentelemetry/sdk-node");
const { AwsLambdaInstrumentation } = require("@opentelemetry/instrumentation-aws-lambda");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");

new NodeSDK({ instrumentations: [new AwsLambdaInstrumentation(), new HttpInstrumentation()] }).start();
