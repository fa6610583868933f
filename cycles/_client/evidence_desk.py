"""What `Client.evidence` does: where an envelope and the keys are fetched, and what is kept of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cycles._core import evidence_flows
from cycles._drivers.bounded_api import BoundedPublicApi
from cycles.errors import CyclesError, InvalidRequest
from cycles_api.models.cycles_evidence_ref import CyclesEvidenceRef

if TYPE_CHECKING:
    from cycles._client.access import Access
    from cycles._core.effects import Flow
    from cycles.evidence import Keys, KeySet, Verification

_ID: Final = re.compile(r"[0-9a-f]{64}")
_ENVELOPE_PATH: Final = "/v1/evidence/"
_KEYS_PATH: Final = "/v1/.well-known/cycles-jwks.json"

Asked: TypeAlias = "str | bytes | Mapping[str, Any] | CyclesEvidenceRef"
"""What is to be verified: a reference, an id, or an envelope itself."""


class EvidenceDesk:
    """Fetches and verifies evidence for one client.

    Args:
        access: Of the client.
        is_async: Whether its requests are asynchronous.
    """

    def __init__(self, access: Access, *, is_async: bool) -> None:
        self._access: Final = access
        self._is_async: Final = is_async
        self._key_sets: Final[dict[str, KeySet]] = {}

    def verifying(self, asked: Asked, keys: Keys | None, server_id: str | None) -> Flow[Verification]:
        """Return the flow of `Client.evidence`; what is wrong with its arguments is raised here.

        Raises:
            InvalidRequest, ConfigError: see `Client.evidence`.
        """
        from cycles import evidence  # noqa: PLC0415 - an extra, and few programs verify anything

        evidence.need_extra()
        if isinstance(asked, CyclesEvidenceRef):
            asked = asked.to_dict()
        url = None
        if isinstance(keys, str) and keys.startswith(("http://", "https://")):
            url = _prefix("keys", keys, _KEYS_PATH)
            self._must_reach(url)
        known = None if keys is None or url is not None else evidence.key_set(keys)
        found: bytes | Mapping[str, Any] | None = None
        evidence_id, base = "", None
        if isinstance(asked, bytes) or (isinstance(asked, Mapping) and "signature" in asked):
            found = asked
        else:
            evidence_id, base = _named(asked)
            self._must_reach(base)
        return self._verified(found, evidence_id, base, known=known, url=url, server_id=server_id)

    def _verified(
        self,
        found: bytes | Mapping[str, Any] | None,
        evidence_id: str,
        base: str | None,
        *,
        known: KeySet | None,
        url: str | None,
        server_id: str | None,
    ) -> Flow[Verification]:
        from cycles import evidence  # noqa: PLC0415 - see above

        policy = self._access.config.retry
        if found is None:
            found = yield from evidence_flows.envelope(evidence_id, policy, **self._elsewhere(base))
        if known is not None:
            result = evidence.verify(found, known, server_id=server_id)
        else:
            result = yield from self._by_key_set(found, url, server_id)
        if evidence_id and result.envelope.get("evidence_id") != evidence_id:
            reason = "it is another envelope than the one that was asked for"
            return evidence.Verification(evidence.Outcome.SIGNATURE_INVALID, reason, result.envelope)
        return result

    def _by_key_set(
        self, found: bytes | Mapping[str, Any], url: str | None, server_id: str | None
    ) -> Flow[Verification]:
        """Verify with the key set at *url*, or of the client's authority: fetched once, and anew after a rotation."""
        from cycles import evidence  # noqa: PLC0415 - see above

        name = url or ""
        if name in self._key_sets:
            result = evidence.verify(found, self._key_sets[name], server_id=server_id)
            if result.outcome is not evidence.Outcome.SIGNER_AUTHORITY_FAILED:
                return result
        try:
            content = yield from evidence_flows.key_set(self._access.config.retry, **self._elsewhere(url))
            self._key_sets[name] = evidence.KeySet.of(content)
        except CyclesError as error:
            return evidence.unresolved(found, f"no key set could be fetched: {error.message}", server_id=server_id)
        return evidence.verify(found, self._key_sets[name], server_id=server_id)

    def _is_own(self, base: str | None) -> bool:
        return base is None or base.rstrip("/") == self._access.base_url

    def _must_reach(self, base: str | None) -> None:
        if self._access.config.is_local and not self._is_own(base):
            raise InvalidRequest("evidence: a client of a local: authority reaches no other server")

    def _elsewhere(self, base: str | None) -> dict[str, Any]:
        """Return where to ask, if not at the client's own authority: no key is sent there."""
        if base is None or self._is_own(base):
            return {}
        there = BoundedPublicApi(base, timeout=self._access.timeout, http_module=self._access.engine.http)
        if self._is_async:
            there.set_async_httpx_client(self._access.api.get_async_httpx_client())
        else:
            there.set_httpx_client(self._access.api.get_httpx_client())
        return {"client": there}


def _named(asked: object) -> tuple[str, str | None]:
    """Return the id of the envelope that a reference names, and the server that has it; None: the client's own."""
    if isinstance(asked, Mapping):
        evidence_id, url = asked.get("evidence_id"), asked.get("cycles_evidence_url")
    else:
        evidence_id, url = asked, None
    if not isinstance(evidence_id, str) or not _ID.fullmatch(evidence_id):
        raise InvalidRequest(
            "evidence: give a reference such as `reservation.evidence`, an id (64 lower-case hex digits) or an envelope"
        )
    return evidence_id, None if url is None else _prefix("cycles_evidence_url", str(url), _ENVELOPE_PATH + evidence_id)


def _prefix(field: str, url: str, path: str) -> str:
    """Return what of *url* stands before the protocol's *path*."""
    if url.startswith(("http://", "https://")) and url.endswith(path) and "?" not in url and "#" not in url:
        return url.removesuffix(path)
    raise InvalidRequest(f"{field}: give an http(s) URL that ends in {path}")
