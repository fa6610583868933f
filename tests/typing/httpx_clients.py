"""Clients of httpx where an http client is wanted: checked by mypy and pyright, alone or beside httpx2; not run."""

from __future__ import annotations

import httpx

import cycles
from cycles_api import AuthenticatedClient

config = cycles.Config("local:")
cycles.Client(config, http_client=httpx.Client())
cycles.AsyncClient(config, http_client=httpx.AsyncClient())
cycles.Client(config, http_client=httpx.AsyncClient())  # type: ignore[arg-type]
cycles.AsyncClient(config, http_client=httpx.Client())  # type: ignore[arg-type]
cycles.Client(config, http_client="http://proxy")  # type: ignore[arg-type]
AuthenticatedClient("http://a", "k", http_module=httpx, timeout=httpx.Timeout(3.0)).set_httpx_client(httpx.Client())
AuthenticatedClient("http://a", "k", timeout=(1.0, 2.0, None, None)).with_timeout(None)
AuthenticatedClient("http://a", "k", timeout="3")  # type: ignore[arg-type]
AuthenticatedClient("http://a", "k").set_async_httpx_client(httpx.Client())  # type: ignore[arg-type]
