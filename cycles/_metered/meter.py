"""What the requests of one wrapped client are reserved and charged: read, bounded, priced."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from cycles._client.checked import signature
from cycles._metered.steps import Steps
from cycles._metering.conventions import terms
from cycles._metering.request import provider_of, read, region_of
from cycles._telemetry import log
from cycles.amounts import tokens
from cycles.client import DEFAULTS
from cycles.errors import ConfigError, InvalidRequest, Unmeterable
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles._client.checked import Same
    from cycles._client.defaults import Defaults
    from cycles._metered.choices import Choices
    from cycles._metering.request import Billable
    from cycles._metering.usage import Usage
    from cycles.client import AsyncClient, Client
    from cycles.prices import Prices

_FREE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "DELETE"))
"""Methods that bill at no provider; all that is known where the provider is not."""

_MANY: Final = 64
"""Actions that are remembered, and warnings, which are so given once."""
_IDS: Final = re.compile(r"(?<=/)[^/:]*\d[^/:]*")
"""Parts of a path that have a digit: ids, models, versions."""


class Meter:
    """Reads, bounds and prices the requests of one wrapped client.

    Args:
        choices: What `wrap` was told.
        prices: The table; None where tokens are counted alike.
        options: The fields of a reserve that hold for each request.
        authority: The client, or clients, of the authority; the default ones when None.
        usual_provider: The one that the wrapped SDK is of, or None.
    """

    def __init__(
        self,
        choices: Choices,
        prices: Prices | None,
        options: Mapping[str, Any],
        *,
        authority: Defaults[Client, AsyncClient] | None = None,
        usual_provider: str | None = None,
    ) -> None:
        self.choices: Final = choices
        self.options: Final = options
        self.steps: Final = Steps()
        self._prices: Final = prices
        self._authority: Final = DEFAULTS if authority is None else authority
        self._usual_provider: Final = usual_provider
        self._said: Final[set[tuple[str, str]]] = set()
        self._asked: Final[dict[tuple[str, str], tuple[Mapping[str, Any], Same | None]]] = {}

    def client(self) -> Client:
        """Return the client of the authority for blocking code."""
        return self._authority.client()

    def async_client(self) -> AsyncClient:
        """Return the client of the authority for asynchronous code."""
        return self._authority.async_client()

    def asked(self, action: tuple[str, str]) -> tuple[Mapping[str, Any], Same | None]:
        """Return the fields of a reserve for *action*, beside the estimate, and what tells them from others."""
        found = self._asked.get(action)
        if found is None:
            options = {"raise_on_unsettled": False, **self.options, "action": action}
            if len(self._asked) >= _MANY:
                self._asked.clear()
            found = self._asked[action] = options, signature(options)
        return found

    # -- reading -------------------------------------------------------------------------------------------------------
    def read(self, request: Any, body: bytes) -> Billable | None:
        """Return what *request* may bill; None when it is free, or passed on without being understood.

        Raises:
            Unmeterable: it is refused for not being understood.
        """
        host, path = str(request.url.host), request.url.raw_path.decode("ascii", "replace")
        try:
            return self._read(host, path, request, body)
        except Unmeterable as error:
            if self.choices.unknown == "deny":
                raise
            self.passed(f"{request.method} {host}{path.partition('?')[0]}", str(error))
            return None

    def passed(self, what: str, reason: str) -> None:
        """Say once that *what* is sent without being counted. Paths that differ in their ids alone are one."""
        self._say_once("sent without being counted", _IDS.sub("…", what), {"request": what, "reason": reason})

    def repeated(self, billable: Billable, times: int) -> None:
        """Say once that the user's transport has sent a request several *times*, of which one is counted."""
        what = billable.action[1]
        reason = f"its transport has sent it {times} times by itself: what all but the last have cost is not counted"
        facts = {"action": what, "reason": reason, "remedy": "let the SDK retry (max_retries=)"}
        self._say_once("sent more than once", what, facts)

    def _read(self, host: str, path: str, request: Any, body: bytes) -> Billable | None:
        provider = self.choices.provider or self._provider_at(host)
        if provider is None:
            if request.method in _FREE_METHODS:
                return None
            raise Unmeterable(
                f"{host} is no known provider: say whose wire it speaks, as in cycles.wrap(client, provider='openai'); "
                "unknown='pass' sends what is not understood without counting it"
            )
        billable = read(provider, request.method, path, request.headers, body, max_output=self.choices.max_output)
        if billable is None:
            return None
        region = region_of(host, billable.model)
        return self._bounded(billable if region is None else evolve(billable, terms=terms(inference_geo=region)))

    def _provider_at(self, host: str) -> str | None:
        found = provider_of(host)
        if found == "azure" and self._usual_provider == "mistral":  # its wire, as its own SDK speaks it there
            return self._usual_provider
        return found or self._usual_provider

    def _bounded(self, billable: Billable) -> Billable:
        """Return *billable* with a bound of its input even where the request does not show all of it."""
        if not billable.unbounded or self.choices.estimate is not None:
            return billable
        table = self._prices
        window = None if table is None else table.context_window(billable.provider, billable.model)
        if window is None:
            what, reason = f"{billable.provider}:{billable.model}", f"{', '.join(billable.unbounded)} adds to it"
            self._say_once("input without a bound", what, {"model": what, "reason": reason, "remedy": "give estimate="})
        return billable.bounded(window)

    def _say_once(self, event: str, what: str, facts: dict[str, Any]) -> None:
        if (event, what) in self._said:
            return
        if len(self._said) >= _MANY:
            self._said.clear()  # rather twice than never
        self._said.add((event, what))
        log.notify(event, facts)

    # -- bounding and pricing ------------------------------------------------------------------------------------------
    def cost(self, billable: Billable, usage: Usage) -> Amount:
        """Return what *usage* costs, in the unit of the budget."""
        if self._prices is None:
            return tokens(usage.total_tokens)
        if (asked := billable.at_most.terms) or billable.terms:  # what the answer does not say was as it was asked for
            usage = evolve(usage, terms=terms(**{**dict(asked), **dict(usage.terms), **dict(billable.terms)}))
        return self._prices.cost(billable.provider, billable.model, usage)

    def estimate(self, billable: Billable) -> Amount:
        """Return the most that *billable* costs, or what the user's own estimate says."""
        bound = self.bound(billable)
        return bound if isinstance(bound, Amount) else self.cost(billable, bound)

    def bound(self, billable: Billable) -> Usage | Amount:
        """Return the most that *billable* uses, with the input of the user's own estimate; or that, as an amount."""
        estimate = self.choices.estimate
        if estimate is None:
            return billable.bound()
        if estimate == "tiktoken":
            return with_input(billable.bound(), _token_count(billable))
        assert callable(estimate)  # noqa: S101 - types: `Choices` has checked it
        told = estimate(billable.parsed)
        if isinstance(told, Amount):
            if str(told.unit) != self.choices.unit:
                raise InvalidRequest(f"estimate: gave {told.unit}, but the budget is in {self.choices.unit}")
            return told
        if not isinstance(told, int) or isinstance(told, bool) or told < 0:
            raise InvalidRequest(f"estimate: gave {told!r}; let it give input tokens (0 or more), or an Amount")
        return with_input(billable.bound(), told)

    def fitted(self, billable: Billable, remaining: int) -> Billable | None:
        """Return *billable* with the most output that *remaining* pays; None when that is less than `min_output`."""
        low, high = self.choices.min_output, billable.output_bound - 1
        if high < low or not self._pays(remaining, billable.limited(low)):
            return None
        while low < high:
            middle = (low + high + 1) // 2
            if self._pays(remaining, billable.limited(middle)):
                low = middle
            else:
                high = middle - 1
        return billable.limited(low)

    def _pays(self, remaining: int, billable: Billable) -> bool:
        return self.estimate(billable).amount <= remaining


def with_input(bound: Usage, count: int) -> Usage:
    """Return *bound*, or what has come, with *count* tokens of input; the kinds of input are parts of it."""
    kinds = ("cache_write_tokens", "cache_write_1h_tokens", "cache_read_tokens")
    parts = {name: min(getattr(bound, name), count) for name in kinds}
    return evolve(bound, input_tokens=count, **parts)


def _token_count(billable: Billable) -> int:
    """Return how many tokens tiktoken makes of the request; never more than the bound that needs no tokenizer."""
    try:
        tiktoken: Any = import_module("tiktoken")
    except ModuleNotFoundError:
        raise ConfigError("estimate='tiktoken' needs the package tiktoken: pip install tiktoken") from None
    try:
        encoding = tiktoken.encoding_for_model(billable.model)
    except KeyError:
        encoding = tiktoken.get_encoding("o200k_base")
    counted = len(encoding.encode_ordinary(billable.body.decode("utf-8", "replace")))
    beside = max(0, billable.input_bound - len(billable.body))  # images and files that the request only names
    return min(billable.input_bound, counted + beside)
