"""Each attempt of a metered request has a span, as a guarded section has."""

from __future__ import annotations

from tests.metering.metered import DONE, Metered, chunk, completion, streamed, told, usage_chunk


def test_each_metered_request_has_a_span(side, authority, spans):
    metered = Metered(side, authority)
    client = metered.client(estimate=lambda request: 100, max_output=300)
    metered.answers = [completion(told(20, 5)), streamed(chunk("Fine."), usage_chunk(30, 5), DONE)]
    metered.post(client)
    metered.stream(client)
    seen = [dict(span.attributes) for span in spans.named()]
    assert [one["cycles.action.name"] for one in seen] == ["openai:gpt-4o"] * 2
    assert [one["cycles.estimate"] for one in seen] == [400] * 2
    assert [one["cycles.charged"] for one in seen] == [25, 35]
