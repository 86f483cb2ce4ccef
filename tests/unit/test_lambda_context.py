"""The context that a handler gets. What it has in common with Lambda's own is compared in test_differential.py."""

from __future__ import annotations

import pytest

from runtime.errors import InvocationFault
from runtime.invocation import Invocation
from runtime.python.lambda_context import Function, LambdaContext

FUNCTION = Function.from_env(
    {
        "AWS_LAMBDA_FUNCTION_NAME": "name",
        "AWS_LAMBDA_FUNCTION_VERSION": "7",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": "group",
        "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
    }
)


def context(**fields: object) -> LambdaContext:
    return LambdaContext(Invocation("id-1", b"{}", **fields), FUNCTION)  # type: ignore[arg-type]


def test_a_context_shows_what_is_in_it() -> None:
    shown = repr(context(function_arn="arn", client_context='{"client": {"app_title": "t"}}', tenant_id="blue"))
    assert shown == (
        "LambdaContext([aws_request_id=id-1,log_group_name=group,log_stream_name=stream,function_name=name,"
        "memory_limit_in_mb=128,function_version=7,invoked_function_arn=arn,"
        "client_context=ClientContext([custom=None,env=None,client=Client([installation_id=None,app_title=t,"
        "app_version_name=None,app_version_code=None,app_package_name=None])]),"
        "identity=CognitoIdentity([cognito_identity_id=None,cognito_identity_pool_id=None]),tenant_id=blue])"
    )


def test_what_the_environment_does_not_have_is_none() -> None:
    assert Function.from_env({}) == Function(None, None, None, None, None)


def test_handlers_may_keep_things_on_it() -> None:
    """As on the managed runtime, where middleware does that."""
    kept = context()
    kept.user = "somebody"  # type: ignore[attr-defined]
    assert vars(kept)["user"] == "somebody"


def test_each_call_of_w3c_gives_a_dict_of_its_own() -> None:
    one = context(client_context='{"w3c": {"baggage": "b"}}')
    one.w3c()["baggage"] = "changed"
    assert one.w3c() == {"baggage": "b"}
    assert one.client_context is not None


@pytest.mark.parametrize("client", ['"text"', "5", "[]", "true", "[{}]"])
def test_a_client_that_is_no_object_is_named(client: str) -> None:
    with pytest.raises(InvocationFault, match="Client Context JSON: client is no object") as caught:
        context(client_context=f'{{"client": {client}}}')
    assert caught.value.error_type == "Runtime.LambdaContextUnmarshalError"


def test_null_stands_for_nothing() -> None:
    nothing = context(client_context="null", cognito_identity="null")
    assert nothing.client_context is None
    assert nothing.identity.cognito_identity_id is None
