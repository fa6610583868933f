"""A world of the test's own, and what is usually asked in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cycles._core.requests import Terms, terms
from cycles.amounts import tokens

from .world import World

if TYPE_CHECKING:
    from cycles_api.models import Amount


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def seven() -> Amount:
    return tokens(7)


@pytest.fixture
def wanted() -> Terms:
    return terms(tokens(10), action=("llm.completion", "gpt-4o"), levels={"tenant": "acme"})
