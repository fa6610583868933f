# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""The models of requests and responses, each imported when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .action import Action
    from .action_policy_keys import ActionPolicyKeys
    from .action_quota_violation import ActionQuotaViolation
    from .amount import Amount
    from .balance import Balance
    from .balance_response import BalanceResponse
    from .caps import Caps
    from .commit_overage_policy import CommitOveragePolicy
    from .commit_request import CommitRequest
    from .commit_response import CommitResponse
    from .commit_status import CommitStatus
    from .custom_metrics import CustomMetrics
    from .custom_policy_keys import CustomPolicyKeys
    from .cycles_evidence_envelope import CyclesEvidenceEnvelope
    from .cycles_evidence_jwk import CyclesEvidenceJwk
    from .cycles_evidence_jwks import CyclesEvidenceJwks
    from .cycles_evidence_ref import CyclesEvidenceRef
    from .decision_enum import DecisionEnum
    from .decision_request import DecisionRequest
    from .decision_response import DecisionResponse
    from .deny_detail import DenyDetail
    from .dimensions import Dimensions
    from .error_code import ErrorCode
    from .error_details import ErrorDetails
    from .error_response import ErrorResponse
    from .event_create_request import EventCreateRequest
    from .event_create_response import EventCreateResponse
    from .event_status import EventStatus
    from .evidence_artifact_type import EvidenceArtifactType
    from .evidence_payload import EvidencePayload
    from .extend_status import ExtendStatus
    from .jwk_status import JwkStatus
    from .metadata import Metadata
    from .observe_mode import ObserveMode
    from .quota_window import QuotaWindow
    from .release_request import ReleaseRequest
    from .release_response import ReleaseResponse
    from .release_status import ReleaseStatus
    from .reservation_create_request import ReservationCreateRequest
    from .reservation_create_response import ReservationCreateResponse
    from .reservation_detail import ReservationDetail
    from .reservation_evidence import ReservationEvidence
    from .reservation_extend_request import ReservationExtendRequest
    from .reservation_extend_response import ReservationExtendResponse
    from .reservation_list_response import ReservationListResponse
    from .reservation_sort_field import ReservationSortField
    from .reservation_status import ReservationStatus
    from .reservation_summary import ReservationSummary
    from .risk_class import RiskClass
    from .signed_amount import SignedAmount
    from .sort_direction import SortDirection
    from .standard_metrics import StandardMetrics
    from .subject import Subject
    from .unit_enum import UnitEnum

_MODULES = {
    "Action": ".action",
    "ActionPolicyKeys": ".action_policy_keys",
    "ActionQuotaViolation": ".action_quota_violation",
    "Amount": ".amount",
    "Balance": ".balance",
    "BalanceResponse": ".balance_response",
    "Caps": ".caps",
    "CommitOveragePolicy": ".commit_overage_policy",
    "CommitRequest": ".commit_request",
    "CommitResponse": ".commit_response",
    "CommitStatus": ".commit_status",
    "CustomMetrics": ".custom_metrics",
    "CustomPolicyKeys": ".custom_policy_keys",
    "CyclesEvidenceEnvelope": ".cycles_evidence_envelope",
    "CyclesEvidenceJwk": ".cycles_evidence_jwk",
    "CyclesEvidenceJwks": ".cycles_evidence_jwks",
    "CyclesEvidenceRef": ".cycles_evidence_ref",
    "DecisionEnum": ".decision_enum",
    "DecisionRequest": ".decision_request",
    "DecisionResponse": ".decision_response",
    "DenyDetail": ".deny_detail",
    "Dimensions": ".dimensions",
    "ErrorCode": ".error_code",
    "ErrorDetails": ".error_details",
    "ErrorResponse": ".error_response",
    "EventCreateRequest": ".event_create_request",
    "EventCreateResponse": ".event_create_response",
    "EventStatus": ".event_status",
    "EvidenceArtifactType": ".evidence_artifact_type",
    "EvidencePayload": ".evidence_payload",
    "ExtendStatus": ".extend_status",
    "JwkStatus": ".jwk_status",
    "Metadata": ".metadata",
    "ObserveMode": ".observe_mode",
    "QuotaWindow": ".quota_window",
    "ReleaseRequest": ".release_request",
    "ReleaseResponse": ".release_response",
    "ReleaseStatus": ".release_status",
    "ReservationCreateRequest": ".reservation_create_request",
    "ReservationCreateResponse": ".reservation_create_response",
    "ReservationDetail": ".reservation_detail",
    "ReservationEvidence": ".reservation_evidence",
    "ReservationExtendRequest": ".reservation_extend_request",
    "ReservationExtendResponse": ".reservation_extend_response",
    "ReservationListResponse": ".reservation_list_response",
    "ReservationSortField": ".reservation_sort_field",
    "ReservationStatus": ".reservation_status",
    "ReservationSummary": ".reservation_summary",
    "RiskClass": ".risk_class",
    "SignedAmount": ".signed_amount",
    "SortDirection": ".sort_direction",
    "StandardMetrics": ".standard_metrics",
    "Subject": ".subject",
    "UnitEnum": ".unit_enum",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(module, __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


__all__ = (
    "Action",
    "ActionPolicyKeys",
    "ActionQuotaViolation",
    "Amount",
    "Balance",
    "BalanceResponse",
    "Caps",
    "CommitOveragePolicy",
    "CommitRequest",
    "CommitResponse",
    "CommitStatus",
    "CustomMetrics",
    "CustomPolicyKeys",
    "CyclesEvidenceEnvelope",
    "CyclesEvidenceJwk",
    "CyclesEvidenceJwks",
    "CyclesEvidenceRef",
    "DecisionEnum",
    "DecisionRequest",
    "DecisionResponse",
    "DenyDetail",
    "Dimensions",
    "ErrorCode",
    "ErrorDetails",
    "ErrorResponse",
    "EventCreateRequest",
    "EventCreateResponse",
    "EventStatus",
    "EvidenceArtifactType",
    "EvidencePayload",
    "ExtendStatus",
    "JwkStatus",
    "Metadata",
    "ObserveMode",
    "QuotaWindow",
    "ReleaseRequest",
    "ReleaseResponse",
    "ReleaseStatus",
    "ReservationCreateRequest",
    "ReservationCreateResponse",
    "ReservationDetail",
    "ReservationEvidence",
    "ReservationExtendRequest",
    "ReservationExtendResponse",
    "ReservationListResponse",
    "ReservationSortField",
    "ReservationStatus",
    "ReservationSummary",
    "RiskClass",
    "SignedAmount",
    "SortDirection",
    "StandardMetrics",
    "Subject",
    "UnitEnum",
)
