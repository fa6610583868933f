"""Every model of the document reads exactly what fits, writes it back, and raises nothing but DecodeError.

The values come from the schemas in openapi/cycles.yaml, so a new model is covered when it is written there. What fits
is said a second time, in `fits`, from the document alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cycles_api import models
from cycles_api.errors import DecodeError

Schema = dict[str, Any]

DOCUMENT: Schema = yaml.safe_load((Path(__file__).parents[2] / "openapi" / "cycles.yaml").read_text(encoding="utf-8"))
SCHEMAS: dict[str, Schema] = DOCUMENT["components"]["schemas"]
MODELS = sorted(name for name, schema in SCHEMAS.items() if "properties" in schema)
ENUMS = sorted(name for name, schema in SCHEMAS.items() if "enum" in schema)
FREE = sorted(name for name, schema in SCHEMAS.items() if schema["type"] == "object" and "properties" not in schema)
INT64 = (-(2**63), 2**63 - 1)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | TEXT
    | st.sampled_from(["ALLOW", "TOKENS", 2**63, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def resolve(schema: Schema) -> Schema:
    while "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    return schema


def bounds(schema: Schema) -> tuple[int, int]:
    return schema.get("minimum", INT64[0]), schema.get("maximum", INT64[1])


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """Return values that fit *schema*; of an enum also unknown ones, of an open object also unknown fields."""
    schema = resolve(schema)
    match schema["type"]:
        case ["integer", "null"]:
            return st.none() | st.integers(*bounds(schema))
        case "integer":
            return st.integers(*bounds(schema)) | st.sampled_from(bounds(schema))
        case "boolean":
            return st.booleans()
        case "string":
            return st.sampled_from(schema["enum"]) | TEXT if "enum" in schema else TEXT
        case "array":
            return st.lists(values(schema["items"]), max_size=3)
        case "object" if "properties" in schema:
            fields = {name: values(field) for name, field in schema["properties"].items()}
            required = {name: field for name, field in fields.items() if name in schema.get("required", [])}
            optional = {name: field for name, field in fields.items() if name not in required}
            known = st.fixed_dictionaries(required, optional=optional)
            if not schema["additionalProperties"]:
                return known
            unknown = st.dictionaries(TEXT.filter(lambda name: name not in fields), JSON, max_size=2)
            return st.builds(lambda one, other: {**other, **one}, known, unknown)
        case "object":
            inner = schema["additionalProperties"]
            return st.dictionaries(TEXT, JSON if inner is True else values(inner), max_size=3)
    raise AssertionError(schema)


def fits(schema: Schema, value: Any) -> bool:
    """Return whether *value* is of the types, presence and integer bounds that *schema* asks for."""
    schema = resolve(schema)
    match schema["type"]:
        case ["integer", "null"]:
            return value is None or fits({**schema, "type": "integer"}, value)
        case "integer":
            return type(value) is int and bounds(schema)[0] <= value <= bounds(schema)[1]
        case "boolean":
            return type(value) is bool
        case "string":
            return type(value) is str
        case "array":
            return type(value) is list and all(fits(schema["items"], item) for item in value)
    if type(value) is not dict:
        return False
    if "properties" not in schema:
        inner = schema["additionalProperties"]
        return inner is True or all(fits(inner, item) for item in value.values())
    required = schema.get("required", [])
    return all(name in value for name in required) and all(
        fits(field, value[name])
        for name, field in schema["properties"].items()
        if name in required or value.get(name) is not None
    )


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return each container in *value* with each of its keys."""
    found: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            found += [(value, key), *places(value[key])]
    return found


def exactly(value: Any) -> str:
    """Return text that differs for values that differ: 1, 1.0 and True are equal to each other."""
    return json.dumps(value, sort_keys=True)


def model(name: str) -> Any:
    return getattr(models, name)


def test_all_schemas_are_covered() -> None:
    named = {*MODELS, *ENUMS, *FREE}
    assert set(models.__all__) == named
    plain = {name for name in SCHEMAS if name not in named}
    assert all(SCHEMAS[name]["type"] == "string" for name in plain)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_fits_survives(name: str, data: st.DataObject) -> None:
    value = data.draw(values(SCHEMAS[name]))
    before = exactly(value)
    decoded = model(name).from_dict(value)
    assert exactly(decoded.to_dict()) == before
    assert exactly(value) == before  # not touched
    assert model(name).from_dict(decoded.to_dict()) == decoded


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_unknown_fields_are_kept_or_ignored(name: str, data: st.DataObject) -> None:
    value = data.draw(values(SCHEMAS[name]))
    unknown = {"not_in_the_document": data.draw(JSON)}
    written = model(name).from_dict({**value, **unknown}).to_dict()
    expected = {**value, **unknown} if SCHEMAS[name]["additionalProperties"] else value
    assert exactly(written) == exactly(expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_exactly_what_fits_is_read(name: str, data: st.DataObject) -> None:
    """One change to a value that fits: put anything in the place of a part, take it away, or add to it."""
    whole = {"whole": data.draw(values(SCHEMAS[name]))}
    container, key = data.draw(st.sampled_from(places(whole)))
    match data.draw(st.sampled_from(["put", "null", "take", "add"])):
        case "put":
            container[key] = data.draw(JSON)
        case "null":
            container[key] = None
        case "take" if container is not whole:
            del container[key]
        case _ if isinstance(container, list):
            container.append(data.draw(JSON))
        case _:
            container[data.draw(TEXT)] = data.draw(JSON)
    value = whole["whole"]
    try:
        decoded = model(name).from_dict(value)
    except DecodeError:
        decoded = None
    assert (decoded is not None) == fits(SCHEMAS[name], value)
    if decoded is not None:
        assert model(name).from_dict(decoded.to_dict()) == decoded


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=30, deadline=None)
@given(value=JSON)
def test_no_json_raises_anything_else(name: str, value: Any) -> None:
    try:
        model(name).from_dict(value)
    except DecodeError:
        assert not fits(SCHEMAS[name], value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENUMS)
@given(text=TEXT)
def test_enums_keep_any_string(name: str, text: str) -> None:
    enum = model(name)
    assert [member.value for member in enum] == SCHEMAS[name]["enum"]
    assert (enum(text), enum(text).is_known) == (text, text in SCHEMAS[name]["enum"])
    assert getattr(models, name)(enum(text)) == text
    with pytest.raises(ValueError, match="is not a valid"):
        enum(5)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_models_share_nothing(name: str, data: st.DataObject) -> None:
    value = data.draw(values(SCHEMAS[name]))
    one, other = model(name).from_dict(value), model(name).from_dict(value)
    assert not hasattr(one, "__dict__")  # slots: a misspelt attribute is an error
    for field in type(one).__attrs_attrs__:
        assert not isinstance(field.default, dict | list)
        if isinstance(mine := getattr(one, field.name), dict | list):
            assert mine is not getattr(other, field.name)
