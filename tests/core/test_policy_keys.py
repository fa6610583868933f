"""Policy keys, as programs give them: what is sent, and what is refused before anything is."""

from __future__ import annotations

import pytest

from cycles._core.policy_keys import policy_keys_of
from cycles.errors import InvalidRequest
from cycles_api.models import ActionPolicyKeys

WHOLE = {
    "host": "api.example.com",
    "recipient_domain": "example.com",
    "resource_type": "table",
    "path_prefix": "/v1/",
    "custom": {"team": "research"},
}


def test_a_mapping_and_a_model_are_the_same():
    made = policy_keys_of(WHOLE)
    assert made.to_dict() == WHOLE
    assert policy_keys_of(made) == made
    assert policy_keys_of({}).to_dict() == {}
    assert policy_keys_of({"host": None}).to_dict() == {}
    assert policy_keys_of({"host": "::1"}).host == "::1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("api.example.com", "give a mapping"),
        ({"hosts": "a"}, "'hosts' is none of host, recipient_domain"),
        ({"host": 7}, "policy_keys.host=7"),
        ({"host": "x" * 254}, "policy_keys.host"),
        ({"host": "https://api.example.com"}, "the host alone"),
        ({"host": "api.example.com/v1"}, "the host alone"),
        ({"host": "api.example.com:443"}, "the host alone"),
        ({"host": "[::1]:443"}, "the host alone"),
        ({"path_prefix": "x" * 513}, "policy_keys.path_prefix"),
        ({"custom": ["a"]}, "policy_keys.custom"),
        ({"custom": {str(n): "" for n in range(9)}}, "9 entries, at most 8"),
        ({"custom": {"a": "x" * 257}}, "policy_keys.custom.a"),
        ({"custom": {1: "a"}}, "policy_keys.custom=1"),
        (ActionPolicyKeys(host="a:1"), "the host alone"),
    ],
)
def test_what_no_authority_takes_is_refused_here(given, said):
    with pytest.raises(InvalidRequest, match="policy_keys") as refused:
        policy_keys_of(given)
    assert said in refused.value.message
