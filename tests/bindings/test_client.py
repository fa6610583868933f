"""How clients and endpoint functions behave where stock output behaves as well."""

from __future__ import annotations

import asyncio
import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cycles_api import AuthenticatedClient, Client
from cycles_api.api.reservations import get_reservation
from cycles_api.models import ErrorCode, ErrorResponse

DOCUMENT: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "openapi" / "cycles.yaml").read_text(encoding="utf-8")
)
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
ERROR = {"error": "LIMIT_EXCEEDED", "message": "slower", "request_id": "q-1"}


def module_of(name: str) -> Any:
    """Return the module of an operation: its tag and its name, both in snake case."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return import_module(f"cycles_api.api.{OPERATIONS[name][2]['tags'][0].lower()}.{snake}")


def answering(status: int = 200, **answer: Any) -> tuple[list[httpx.Request], dict[str, Any]]:
    requests: list[httpx.Request] = []

    def answer_to(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(status, **answer)

    return requests, {"transport": httpx.MockTransport(answer_to)}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_goes_where_the_document_says(name: str) -> None:
    method, path, operation = OPERATIONS[name]
    module = module_of(name)
    requests, httpx_args = answering(503, json=ERROR)
    arguments: dict[str, Any] = {"client": AuthenticatedClient("http://a", "k", httpx_args=httpx_args)}
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]
        model = getattr(import_module("cycles_api.models"), schema["schema"]["$ref"].rpartition("/")[2])
        example = next(iter(schema["examples"].values()))["value"]
        arguments["body"] = model.from_dict(example)
        arguments["x_idempotency_key"] = example["idempotency_key"]
    names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    results = [
        module.sync(*names, **arguments),
        module.sync_detailed(*names, **arguments).parsed,
        asyncio.run(module.asyncio(*names, **arguments)),
        asyncio.run(module.asyncio_detailed(*names, **arguments)).parsed,
    ]
    assert all(isinstance(result, ErrorResponse) and result.error is ErrorCode.LIMIT_EXCEEDED for result in results)
    for request in requests:
        assert request.method == method.upper()
        assert request.url.raw_path.decode() == path.replace("{", "").replace("}", "")
        assert ("X-Cycles-API-Key" in request.headers) == bool(operation["security"])
        if "requestBody" in operation:
            assert request.headers["X-Idempotency-Key"] == example["idempotency_key"]
            assert request.headers["Content-Type"] == "application/json"
            assert httpx.Response(200, content=request.content).json() == example
    assert len(requests) == 4


@pytest.mark.parametrize("name", OPERATIONS)
def test_functions_take_the_client_they_need_and_say_what_they_do(name: str) -> None:
    module = module_of(name)
    operation = OPERATIONS[name][2]
    needed = "AuthenticatedClient" if operation["security"] else "Client"
    signatures = {
        function: inspect.signature(getattr(module, function))
        for function in ("sync", "sync_detailed", "asyncio", "asyncio_detailed")
    }
    for function, signature in signatures.items():
        assert signature.parameters["client"].annotation == needed
        assert signature.parameters.keys() == signatures["sync"].parameters.keys()
        assert inspect.getdoc(getattr(module, function)).startswith(operation["summary"])
    assert inspect.iscoroutinefunction(module.asyncio_detailed)


@pytest.mark.parametrize("status", [307, 404, 429, 500, 503])
def test_statuses_that_are_not_listed_parse_as_errors(status: int) -> None:
    _, httpx_args = answering(status, json=ERROR, headers={"Retry-After": "3"})
    client = AuthenticatedClient("http://a", "k", httpx_args=httpx_args)
    response = get_reservation.sync_detailed("r", client=client)
    assert isinstance(response.parsed, ErrorResponse)
    assert response.headers["retry-after"] == "3"


@pytest.mark.parametrize("base_url", ["http://a/prefix", "http://a/prefix/"])
def test_path_of_the_base_url_is_kept(base_url: str) -> None:
    requests, httpx_args = answering(404, json=ERROR)
    get_reservation.sync("r", client=AuthenticatedClient(base_url, "k", httpx_args=httpx_args))
    assert str(requests[0].url) == "http://a/prefix/v1/reservations/r"


@pytest.mark.parametrize("class_name", ["Client", "AsyncClient"])
def test_http2_and_proxies_are_options_of_httpx(monkeypatch: pytest.MonkeyPatch, class_name: str) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(httpx, class_name, lambda **arguments: seen.update(arguments))
    client = AuthenticatedClient("http://a", "k", verify_ssl=False, httpx_args={"http2": True, "proxy": "http://p"})
    client.get_httpx_client() if class_name == "Client" else client.get_async_httpx_client()
    assert (seen["http2"], seen["proxy"], seen["verify"], seen["follow_redirects"]) == (True, "http://p", False, False)


def test_arguments_of_httpx_are_passed_on() -> None:
    class Seen(Exception):
        pass

    def hook(_: httpx.Request) -> None:
        raise Seen

    client = AuthenticatedClient("http://a", "k", httpx_args={"event_hooks": {"request": [hook]}, "trust_env": False})
    with client, pytest.raises(Seen):
        get_reservation.sync("r", client=client)


def test_arguments_of_httpx_can_not_replace_the_headers_with_the_key() -> None:
    with pytest.raises(TypeError, match="headers"):
        AuthenticatedClient("http://a", "k", httpx_args={"headers": {}}).get_httpx_client()


def test_key_of_the_operator_goes_by_the_named_header() -> None:
    requests, httpx_args = answering(404, json=ERROR)
    client = AuthenticatedClient("http://a", "k", auth_header_name="X-Admin-API-Key", httpx_args=httpx_args)
    get_reservation.sync("r", client=client)
    assert requests[0].headers["X-Admin-API-Key"] == "k"
    assert "X-Cycles-API-Key" not in requests[0].headers


def test_empty_key_is_not_sent() -> None:
    requests, httpx_args = answering(404, json=ERROR)
    get_reservation.sync("r", client=AuthenticatedClient("http://a", "", httpx_args=httpx_args))
    assert "X-Cycles-API-Key" not in requests[0].headers


def test_leaving_the_client_closes_what_it_made() -> None:
    with Client("http://a") as client:
        live = client.get_httpx_client()
    assert live.is_closed

    async def leave() -> bool:
        async with Client("http://a") as client:
            live = client.get_async_httpx_client()
        return live.is_closed

    assert asyncio.run(leave())


def test_trouble_of_the_transport_is_httpx_own() -> None:
    def lose(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("too slow", request=request)

    client = AuthenticatedClient("http://a", "k", httpx_args={"transport": httpx.MockTransport(lose)})
    with pytest.raises(httpx.ReadTimeout):
        get_reservation.sync("r", client=client)
