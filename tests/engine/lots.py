"""The lines of the first batches: good ones, special ones, and those that vLLM refuses."""

from __future__ import annotations

from tests.engine.requests import PERSON, TOOL, chat, line

STORY = "A dragon and a knight share a castle by the sea and argue about the dishes. "
# Together far more than the engine takes in one step, so that prompts would be split if they
# could be: with seeds in them, that ends the CPU engine of vLLM 0.32.
GOOD = [
    chat(f"good-{i}", f"Story {i}: {STORY * 4} Who is right?", seed=i, temperature=0.8)
    for i in range(50)
]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
SPECIAL = [
    *[
        chat(f"schema-{i}", f"Invent person {i}.", max_tokens=120, response_format=SCHEMA)
        for i in range(4)
    ],
    chat("logprobs", "Name a colour.", logprobs=True, top_logprobs=3),
    chat("two", "Name an animal.", n=2, seed=5, temperature=1.0),
    chat("stop", "Tell me about the sea.", max_tokens=64, stop=["e"]),
    chat("nul", "before\0after"),
    chat(
        "tool-named",
        "How is the weather in Oslo?",
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "look_up"}},
        max_tokens=64,
    ),
    chat(
        "tool-required",
        "How is the weather in Lima?",
        tools=[TOOL],
        tool_choice="required",
        max_tokens=64,
    ),
    chat("unknown-field", "Say hello.", no_such_field={"a": 1}),
]
IMAGE = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/picture.png"}}
# custom_id: a part of the message with which vLLM refuses it.
REFUSED = {
    "too-long": "maximum context length is 2048",
    "wrong-type": "unable to parse string as a number",
    "half-a-pair": "TextEncodeInput",
    "image": "not a multimodal model",
    "bad-schema": "Grammar error",
}
BAD = [
    chat("too-long", "word " * 3_000),
    chat("wrong-type", "Hello.", temperature="hot"),
    chat("half-a-pair", "before\ud800after"),
    chat("image", [{"type": "text", "text": "What is this?"}, IMAGE]),
    chat(
        "bad-schema",
        "Hello.",
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"type": "nonsense"}},
        },
    ),
]
CHAT_LINES = [*GOOD[:25], *BAD, *SPECIAL, *GOOD[25:]]

_COMPLETION = {"model": "chat", "max_tokens": 8, "temperature": 0}
COMPLETION_LINES = [
    line("plain", "/v1/completions", prompt="Once upon a time", **_COMPLETION),
    line("several", "/v1/completions", prompt=["One, two,", "Red, green,"], **_COMPLETION),
    line("logprobs", "/v1/completions", prompt="The sky is", logprobs=2, **_COMPLETION),
    line("echo", "/v1/completions", prompt="The sky is", echo=True, **_COMPLETION),
    line("refused", "/v1/completions", prompt="word " * 3_000, **_COMPLETION),
]
_RESPONSE = {"model": "chat", "max_output_tokens": 12, "temperature": 0}
RESPONSE_LINES = [
    line("text", "/v1/responses", input="Name a colour.", **_RESPONSE),
    line(
        "messages",
        "/v1/responses",
        instructions="Answer in one word.",
        input=[{"role": "user", "content": "Name an animal."}],
        **_RESPONSE,
    ),
    line("refused", "/v1/responses", input="word " * 3_000, **_RESPONSE),
]
