"""The endpoint for tests. Those of sdk/ need the SDK packages: only `nox -s metering` collects them."""

from __future__ import annotations

import os

import pytest

from tests.metering.provider import Provider

collect_ignore = [] if os.environ.get("CYCLES_METERING") == "1" else ["sdk"]


@pytest.fixture
def provider():
    with Provider() as provider:
        yield provider
