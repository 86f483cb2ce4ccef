"""The agents that are run, each set up as its own documentation says."""

from __future__ import annotations

from .agent import CERTIFICATE, NODE_ERROR, PYTHON_ERROR, PYTHON_START, Agent
from .collector import Collector


def opentelemetry(to: Collector) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{to.address}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }


def wrapped_by(script: str) -> dict[str, str]:
    return {"AWS_LAMBDA_EXEC_WRAPPER": f"/var/task/{script}"}


def sentry(to: Collector) -> dict[str, str]:
    return {"SENTRY_DSN": f"http://key@{to.address}/1", "SENTRY_TRACES_SAMPLE_RATE": "1.0"}


def datadog(handler: str) -> dict[str, str]:
    return {
        "DD_LAMBDA_HANDLER": handler,
        "DD_SITE": "datadoghq.com",
        "DD_FLUSH_TO_LOG": "true",
        "DD_TRACE_ENABLED": "true",
    }


NEW_RELIC = {
    "NEW_RELIC_SERVERLESS_MODE_ENABLED": "true",
    "NEW_RELIC_ACCOUNT_ID": "1",
    "NEW_RELIC_TRUSTED_ACCOUNT_KEY": "1",
    "NEW_RELIC_DISTRIBUTED_TRACING_ENABLED": "true",
}


def elastic(to: Collector) -> dict[str, str]:
    return {
        "ELASTIC_APM_SERVER_URL": f"http://{to.address}",
        "ELASTIC_APM_CENTRAL_CONFIG": "false",
        "ELASTIC_APM_CLOUD_PROVIDER": "none",
    }


def lumigo(to: Collector) -> dict[str, str]:
    return {
        "LUMIGO_TRACER_HOST": to.secure_address,
        "LUMIGO_TRACER_TOKEN": "t_ofthismachine0001",
        "SSL_CERT_FILE": CERTIFICATE.target,
    }


OF_LAMBDA = "opentelemetry.instrumentation.aws_lambda"
NODE_OF_LAMBDA = "@opentelemetry/instrumentation-aws-lambda"
WEB_REQUEST = "@opentelemetry/instrumentation-http"

PYTHON = {
    "opentelemetry": Agent(
        "opentelemetry",
        lambda to: {**opentelemetry(to), **wrapped_by("otel.sh")},
        (OF_LAMBDA, "test_function", "faas.invocation_id"),
        PYTHON_ERROR,
    ),
    "sentry": Agent("sentry", sentry, ("transaction", "test_function"), PYTHON_ERROR, PYTHON_START),
    "opentelemetry and sentry": Agent(
        "two",
        lambda to: {**opentelemetry(to), **sentry(to), **wrapped_by("otel.sh")},
        (OF_LAMBDA, '"type":"transaction"'),
        ("exception.stacktrace", '"type":"LookupError"'),
        PYTHON_START,
    ),
    "datadog": Agent(
        "datadog",
        lambda _: {**datadog("app.handler"), **wrapped_by("datadog_wrapper")},
        ("aws.lambda", "aws.lambda.enhanced.invocations"),
        (*PYTHON_ERROR, "aws.lambda.enhanced.errors"),
        PYTHON_START,
        handler="datadog_lambda.handler.handler",
        writes=True,
    ),
    "newrelic": Agent(
        "newrelic",
        lambda _: NEW_RELIC,
        ("analytic_event_data", "test_function"),
        (*PYTHON_ERROR, "error_event_data"),
        writes=True,
    ),
    "newrelic's handler": Agent(
        "newrelic",
        lambda _: {**NEW_RELIC, "NEW_RELIC_LAMBDA_HANDLER": "plain.handler"},
        ("analytic_event_data", "test_function"),
        (*PYTHON_ERROR, "error_event_data"),
        handler="newrelic_lambda_wrapper.handler",
        writes=True,
    ),
    "elastic": Agent("elastic", elastic, ("transaction", "test_function"), PYTHON_ERROR),
    "elastic's wrapper": Agent(
        "elastic",
        lambda to: {**elastic(to), **wrapped_by("elasticapm-lambda.sh")},
        ("transaction", "test_function"),
        PYTHON_ERROR,
        handler="plain.handler",
    ),
    "elastic's run": Agent(
        "elastic",
        lambda to: {**elastic(to), **wrapped_by("elasticapm-run.sh")},
        ("transaction", "test_function"),
        PYTHON_ERROR,
    ),
    "lumigo": Agent("lumigo", lumigo, ("test_function", "_started"), PYTHON_ERROR, handler="decorated.handler"),
    "lumigo's handler": Agent(
        "lumigo",
        lambda to: {**lumigo(to), "LUMIGO_ORIGINAL_HANDLER": "app.handler"},
        ("test_function", "_started"),
        PYTHON_ERROR,
        handler="lumigo_tracer.auto_instrument_handler._handler",
    ),
}
NODE = {
    "opentelemetry on node": Agent(
        "node-opentelemetry",
        lambda to: {**opentelemetry(to), **wrapped_by("otel.sh")},
        (NODE_OF_LAMBDA, "test_function", "faas.invocation_id"),
        NODE_ERROR,
        unseen=(WEB_REQUEST,),
    ),
    "opentelemetry on node, with a callback": Agent(
        "node-opentelemetry",
        lambda to: {**opentelemetry(to), "NODE_OPTIONS": "--require ./lambda-wrapper"},
        (NODE_OF_LAMBDA, "test_function", "faas.invocation_id"),
        NODE_ERROR,
        handler="called.handler",
        unseen=(WEB_REQUEST,),
    ),
    "opentelemetry on node, of an ES module": Agent(
        "node-opentelemetry",
        lambda to: {**opentelemetry(to), "NODE_OPTIONS": "--import /var/task/init.mjs"},
        (NODE_OF_LAMBDA, "test_function", "faas.invocation_id"),
        NODE_ERROR,
        handler="module.handler",
        unseen=(WEB_REQUEST,),
    ),
    "sentry on node": Agent("node-sentry", sentry, (), NODE_ERROR, handler="wrapped.handler"),
    "sentry on node, required": Agent(
        "node-sentry",
        lambda to: {**sentry(to), "NODE_OPTIONS": "-r @sentry/aws-serverless/awslambda-auto"},
        ('"type":"transaction"', "test_function", "function.aws.lambda"),
        NODE_ERROR,
        unseen=("http.server",),
    ),
    "sentry on node, imported": Agent(
        "node-sentry",
        lambda to: {**sentry(to), "NODE_OPTIONS": "--import @sentry/aws-serverless/awslambda-auto"},
        ('"type":"transaction"', "test_function", "function.aws.lambda"),
        NODE_ERROR,
        unseen=("http.server",),
    ),
    "opentelemetry and sentry on node": Agent(
        "node-two",
        lambda to: {**opentelemetry(to), **sentry(to), "NODE_OPTIONS": "--require ./lambda-wrapper"},
        (NODE_OF_LAMBDA, "test_function"),
        ('"type":"RangeError"', "exception.stacktrace"),
        handler="wrapped.handler",
    ),
    "datadog on node": Agent(
        "node-datadog",
        lambda _: {**datadog("index.handler"), **wrapped_by("datadog_wrapper")},
        ("aws.lambda", "aws.lambda.enhanced.invocations"),
        (*NODE_ERROR, "aws.lambda.enhanced.errors"),
        ("TypeError",),
        handler="node_modules/datadog-lambda-js/dist/handler.handler",
        writes=True,
        unseen=("web.request",),
    ),
    "newrelic on node": Agent(
        "node-newrelic",
        lambda _: {**NEW_RELIC, "NEW_RELIC_NO_CONFIG_FILE": "true", "NEW_RELIC_APP_NAME": "orders"},
        ("analytic_event_data", "test_function"),
        (*NODE_ERROR, "error_event_data"),
        handler="wrapped.handler",
        writes=True,
        unseen=("WebTransaction/Nodejs",),
    ),
    "newrelic's handler on node": Agent(
        "node-newrelic",
        lambda _: {**NEW_RELIC, "NEW_RELIC_NO_CONFIG_FILE": "true", "NEW_RELIC_LAMBDA_HANDLER": "index.handler"},
        ("analytic_event_data", "test_function"),
        (*NODE_ERROR, "error_event_data"),
        handler="newrelic-lambda-wrapper.handler",
        writes=True,
        unseen=("WebTransaction/Nodejs",),
    ),
    "elastic on node": Agent(
        "node-elastic",
        elastic,
        ('"transaction"', "test_function", '"outcome":"success"'),
        NODE_ERROR,
        handler="wrapped.handler",
    ),
    "elastic on node, required": Agent(
        "node-elastic",
        lambda to: {**elastic(to), "NODE_OPTIONS": "-r elastic-apm-node/start"},
        ('"transaction"', "test_function", '"outcome":"success"'),
        NODE_ERROR,
    ),
    # Nothing is sent without a trace, and the emulator passes none on: test_xray.py.
    "x-ray on node": Agent(
        "node-xray",
        lambda to: {"AWS_XRAY_DAEMON_ADDRESS": to.udp_address, "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR"},
        (),
        (),
    ),
}
AGENTS = {**PYTHON, **NODE}
# What the costs are measured of: one of each, and a function without any.
MEASURED = {
    "none": Agent("none", lambda _: {}, (), ()),
    "node-none": Agent("node-none", lambda _: {}, (), ()),
    "powertools": Agent("powertools", lambda _: {}, (), ()),
    **{
        name: AGENTS[name]
        for name in (
            "opentelemetry",
            "sentry",
            "opentelemetry and sentry",
            "datadog",
            "newrelic",
            "elastic",
            "lumigo",
            "opentelemetry on node",
            "sentry on node, required",
            "datadog on node",
            "newrelic on node",
            "elastic on node",
            "x-ray on node",
        )
    },
}
