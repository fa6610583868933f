"""Responses held against the authored document: unknown properties, missing fields and wrong types fail."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from openapi_schema_validator import OAS31Validator

if TYPE_CHECKING:
    import httpx

DOCUMENT = Path(__file__).parents[2] / "openapi" / "cycles.yaml"


@cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(DOCUMENT.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


@cache
def operations() -> list[tuple[str, re.Pattern[str], dict[str, Any]]]:
    found = []
    for path, item in document()["paths"].items():
        pattern = re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path))
        for method, operation in item.items():
            if method in ("get", "post"):
                found.append((method.upper(), pattern, operation))
    return found


@cache
def validator(pointer: str) -> Any:
    return OAS31Validator({"$ref": pointer, "components": document()["components"]})


def check(response: httpx.Response) -> None:
    """Fail unless the body is what the document says for this operation and status, or an ErrorResponse."""
    method, path = response.request.method, response.request.url.path
    assert response.headers["content-type"] == "application/json"
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-cycles-trace-id"])
    assert response.headers["x-request-id"]
    if not path.startswith("/v1/"):
        assert "x-ratelimit-remaining" not in response.headers
    else:
        assert (response.headers["x-ratelimit-remaining"], response.headers["x-ratelimit-reset"]) == ("-1", "0")
    if path.startswith("/actuator/"):
        return
    pointer = "#/components/schemas/ErrorResponse"
    if response.is_success:
        (operation,) = [made for verb, known, made in operations() if verb == method and known.fullmatch(path)]
        content = operation["responses"][str(response.status_code)]["content"]
        pointer = content["application/json"]["schema"]["$ref"]
    errors = [error.message for error in validator(pointer).iter_errors(response.json())]
    assert not errors, f"{method} {path} {response.status_code}: {errors}"
