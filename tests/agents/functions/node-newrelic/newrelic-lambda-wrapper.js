// Of the kind that New Relic's layer for Node has: the handler that is set, around the function's own.
process.env.NEW_RELIC_APP_NAME ||= process.env.AWS_LAMBDA_FUNCTION_NAME;
const newrelic = require("newrelic");

const { LAMBDA_TASK_ROOT, NEW_RELIC_LAMBDA_HANDLER } = process.env;
const at = NEW_RELIC_LAMBDA_HANDLER.lastIndexOf(".");
const wrapped = newrelic.setLambdaHandler(
  require(`${LAMBDA_TASK_ROOT}/${NEW_RELIC_LAMBDA_HANDLER.slice(0, at)}`)[NEW_RELIC_LAMBDA_HANDLER.slice(at + 1)],
);

exports.handler = async (...given) => wrapped(...given);
