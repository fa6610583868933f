"""The rules that openapi/cycles.yaml is written by: the contract it states, and what the generator needs to be told."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from openapi_spec_validator import validate

import cycles_api
from cycles_api.client import KEY_HEADERS
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PATH = ROOT / "openapi" / "cycles.yaml"
CONTRACT = ROOT.parent / "shared" / "contract" / "check_contract.py"
DOCUMENT: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
OPERATIONS: dict[str, dict[str, Any]] = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
PUBLIC = {"getEvidence", "getEvidenceJwks"}


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def nodes(node: Any, where: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object in the document with its place, examples left out."""
    if isinstance(node, dict):
        yield where, node
        for key, value in node.items():
            if key != "examples":
                yield from nodes(value, f"{where}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from nodes(value, f"{where}/{index}")


@pytest.mark.skipif(not CONTRACT.exists(), reason="the wire contract is not beside this clone (../shared/contract)")
def test_it_states_the_wire_contract() -> None:
    done = subprocess.run(
        [sys.executable, CONTRACT, PATH], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("0 differences")


def test_it_is_valid_openapi() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"] == "3.1.0"


def test_package_was_made_from_it() -> None:
    assert DOCUMENT["info"]["version"] == cycles_api.SPEC_VERSION == "0.1.25.16"
    source = PATH.read_bytes().replace(b"\r\n", b"\n")
    assert hashlib.sha256(source).hexdigest() == cycles_api.SPEC_SHA256


def test_key_headers_of_the_client_are_the_documents() -> None:
    assert set(KEY_HEADERS) == {scheme["name"] for scheme in DOCUMENT["components"]["securitySchemes"].values()}
    assert KEY_HEADERS[0] == "X-Cycles-API-Key"


def test_there_are_eleven_operations_with_names_of_their_own() -> None:
    assert len({operation["operationId"] for operation in OPERATIONS.values()}) == len(OPERATIONS) == 11


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
class TestOperation:
    def test_has_one_tag_of_one_word(self, operation: dict[str, Any]) -> None:
        (tag,) = operation["tags"]
        assert tag.isalpha()
        assert tag in {declared["name"] for declared in DOCUMENT["tags"]}

    def test_states_its_security(self, operation: dict[str, Any]) -> None:
        """The generator ignores a global `security`."""
        assert "security" not in DOCUMENT
        assert (operation["security"] == []) == (operation["operationId"] in PUBLIC)

    def test_has_a_default_response_that_is_the_error(self, operation: dict[str, Any]) -> None:
        for status, response in operation["responses"].items():
            schema = resolve(response)["content"]["application/json"]["schema"]
            is_error = schema == {"$ref": "#/components/schemas/ErrorResponse"}
            assert is_error == (not status.startswith("2")), status
        assert "default" in operation["responses"]

    def test_is_described(self, operation: dict[str, Any]) -> None:
        assert operation["summary"].endswith(".")
        assert operation["description"]
        assert all(resolve(parameter)["description"] for parameter in operation.get("parameters", []))
        assert all(resolve(response)["description"] for response in operation["responses"].values())

    def test_request_body_has_examples_that_fit(self, operation: dict[str, Any]) -> None:
        for content in [operation["requestBody"]["content"]] if "requestBody" in operation else []:
            assert content["application/json"]["examples"]
            check_examples(content["application/json"])

    def test_response_examples_fit(self, operation: dict[str, Any]) -> None:
        for response in operation["responses"].values():
            check_examples(resolve(response)["content"]["application/json"])

    def test_arrays_say_how_they_are_joined(self, operation: dict[str, Any]) -> None:
        for parameter in map(resolve, operation.get("parameters", [])):
            if resolve(parameter["schema"])["type"] == "array":
                assert (parameter["style"], parameter["explode"]) == ("form", False)


def check_examples(media: dict[str, Any]) -> None:
    schema = {**media["schema"], "components": DOCUMENT["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    for example in media.get("examples", {}).values():
        validator.validate(example["value"])


def test_enums_and_free_objects_are_named_components() -> None:
    """Inline ones get names such as ReservationCreateRequestMetadata, once for each place."""
    for where, node in nodes(DOCUMENT):
        free = node.get("type") == "object" and "properties" not in node
        if "enum" in node or free:
            assert where.startswith("#/components/schemas/"), where
            assert where.count("/") == 3, where


def test_every_schema_and_property_is_described() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema["description"], name
        for field, node in schema.get("properties", {}).items():
            assert node.get("description", "").endswith("."), f"{name}.{field}"


def test_no_construct_that_the_generator_gets_wrong() -> None:
    for where, node in nodes(DOCUMENT):
        assert "const" not in node, f"{where}: const raises on a value of tomorrow"
        assert "oneOf" not in node, where
        assert not ("anyOf" in node and "properties" in node), f"{where}: anyOf beside properties erases the model"


def test_objects_with_properties_say_whether_they_are_open() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        if schema["type"] == "object":
            assert "additionalProperties" in schema, name
