"""What caps change in a request: less output, fewer tools."""

from __future__ import annotations

import pytest

from tests.metering.samples import asked, chat, generate, message, respond, sent


def test_less_output_is_asked_for():
    assert sent(chat(max_tokens=900).limited(100))["max_tokens"] == 100
    assert sent(chat().limited(100))["max_completion_tokens"] == 100
    both = sent(chat(max_tokens=50, max_completion_tokens=900).limited(100))
    assert (both["max_tokens"], both["max_completion_tokens"]) == (50, 100)
    assert sent(respond().limited(100))["max_output_tokens"] == 100
    assert sent(message().limited(100))["max_tokens"] == 100
    assert sent(generate().limited(100))["generationConfig"]["maxOutputTokens"] == 100
    assert sent(generate(generation_config={"max_output_tokens": 900}).limited(9))["generation_config"] == {
        "max_output_tokens": 9
    }


@pytest.mark.parametrize("billable", [chat(n=4), generate(generationConfig={"candidateCount": 4})])
def test_less_output_is_less_over_all_candidates(billable):
    limited = billable.limited(100)
    assert limited.output_bound == limited.bound().output_tokens == 100
    assert billable.limited(3).output_bound == 4, "each candidate has a token"


@pytest.mark.parametrize("billable", [chat(max_tokens=50), respond(max_output_tokens=50), message(max_tokens=50)])
def test_more_output_is_never_asked_for(billable):
    assert billable.limited(50) is billable
    assert billable.limited(1_000) is billable


def test_what_asks_for_no_output_stays_as_it_is():
    billable = asked("openai", "/v1/embeddings", model="text-embedding-3-small", input="a")
    assert billable.limited(0) is billable
    assert billable.with_tools(lambda _: False) is billable


def test_thinking_gets_less_than_the_output():
    """Anthropic refuses a budget of thinking that is not below max_tokens, and one below 1,024."""
    thinking = {"type": "enabled", "budget_tokens": 8_000}
    asks = message(max_tokens=16_000, thinking=thinking)
    assert sent(asks.limited(10_000))["thinking"] == thinking
    assert sent(asks.limited(5_000))["thinking"] == {"type": "enabled", "budget_tokens": 4_999}
    assert sent(asks.limited(1_024))["thinking"] == {"type": "disabled"}
    assert sent(message(max_tokens=16_000, thinking={"type": "adaptive"}).limited(9))["thinking"] == {
        "type": "adaptive"
    }


def function(name):
    return {"type": "function", "function": {"name": name}}


def test_denied_tools_are_taken_out():
    tools = [function("web"), function("mail"), {"type": "custom", "custom": {"name": "code"}}]
    left = chat(tools=tools, tool_choice=function("mail")).with_tools(lambda name: name == "web")
    assert sent(left)["tools"] == [function("web")]
    assert sent(left)["tool_choice"] == "auto", "the tool that it named is gone"
    assert left.input_bound < chat(tools=tools).input_bound
    flat = [{"type": "function", "name": "web"}, {"type": "function", "name": "mail"}, {"type": "web_search"}]
    left = respond(tools=flat, tool_choice={"type": "function", "name": "mail"}).with_tools(lambda name: name == "web")
    assert sent(left)["tools"] == flat[:1]
    assert sent(left)["tool_choice"] == "auto"
    assert left.unbounded == (), "a search that is gone brings no input"
    named = [{"name": "web", "input_schema": {}}, {"name": "mail", "input_schema": {}}]
    left = message(tools=named, tool_choice={"type": "tool", "name": "mail"}).with_tools(lambda name: name == "web")
    assert sent(left)["tools"] == named[:1]
    assert sent(left)["tool_choice"] == {"type": "auto"}
    legacy = chat(functions=[{"name": "web"}, {"name": "mail"}], function_call={"name": "mail"})
    assert sent(legacy.with_tools(lambda name: name == "web"))["functions"] == [{"name": "web"}]
    assert sent(legacy.with_tools(lambda name: name == "web"))["function_call"] == "auto"


def test_denied_functions_of_gemini_are_taken_out():
    tools = [{"functionDeclarations": [{"name": "web"}, {"name": "mail"}]}, {"googleSearch": {}}]
    config = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["mail"]}}
    left = generate(tools=tools, toolConfig=config).with_tools(lambda name: name == "web")
    assert sent(left)["tools"] == [{"functionDeclarations": [{"name": "web"}]}]
    assert "toolConfig" not in sent(left)
    assert left.bound().web_searches == 0
    snake = generate(tools=[{"function_declarations": [{"name": "mail"}], "google_search": {}}])
    assert sent(snake.with_tools(lambda name: name == "google_search"))["tools"] == [{"google_search": {}}]


@pytest.mark.parametrize(
    "billable",
    [
        chat(tools=[function("mail")], tool_choice="required", parallel_tool_calls=True),
        chat(functions=[{"name": "mail"}], function_call="auto"),
        respond(tools=[{"type": "function", "name": "mail"}], tool_choice="required"),
        message(tools=[{"name": "mail", "input_schema": {}}], tool_choice={"type": "any"}),
        generate(tools=[{"functionDeclarations": [{"name": "mail"}]}], toolConfig={}),
    ],
)
def test_without_any_tool_left_nothing_speaks_of_tools(billable):
    assert not {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "toolConfig"} & set(
        sent(billable.with_tools(lambda _: False))
    )


@pytest.mark.parametrize(
    "billable",
    [chat(tools=[function("web")]), chat(), respond(), message(tools=[{"name": "w", "input_schema": {}}]), generate()],
)
def test_where_all_are_allowed_nothing_changes(billable):
    assert billable.with_tools(lambda _: True) is billable


def test_a_stream_whose_output_is_lowered_still_hides_what_was_not_asked_for():
    limited = chat(stream=True).limited(10)
    assert sent(limited)["stream_options"] == {"include_usage": True}
    chunk = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
    assert limited.stream().feed(chunk) == b""


def test_tools_are_known_by_their_own_names_and_those_of_a_provider_by_their_kinds():
    seen = []
    tools = [
        {"type": "mcp", "server_label": "shop"},
        {"type": "web_search"},
        {"type": "function", "name": "f"},
        {"type": "custom", "name": "c"},
    ]
    respond(tools=tools).with_tools(lambda name: bool(seen.append(name)) or True)
    assert seen == ["shop", "web_search", "f", "c"]


def test_a_tool_without_a_name_stays():
    tools = [{}, "odd", function("mail")]
    assert sent(chat(tools=tools).with_tools(lambda _: False))["tools"] == tools[:2]
