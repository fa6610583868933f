"""How each provider's API speaks: what a request asks for, and the bytes of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.metering.wires.anthropic import Messages
from tests.metering.wires.gemini import Embed, Generate
from tests.metering.wires.mistral import Embeddings as MistralEmbeddings
from tests.metering.wires.mistral import Fim, MistralChat
from tests.metering.wires.openai import Chat, Embeddings
from tests.metering.wires.responses import Responses

if TYPE_CHECKING:
    from tests.metering.wires.asked import Wire

WIRES: Final[tuple[Wire, ...]] = (
    MistralChat(),  # before OpenAI's: its paths end as theirs
    Fim(),
    MistralEmbeddings(),
    Chat(),
    Responses(),
    Embeddings(),
    Messages(),
    Generate(),
    Embed(),
)
