"""How many tokens the images, sounds and files of a request are at most.

| what | tokens at most |
|---|---|
| a text | its bytes in UTF-8, with the JSON around it: that is more than a chat template puts around a message |
| a request | 256 more, for what a provider puts in front (system prompts of templates) |
| tools, Anthropic | 1,000 more for the prompt about tools, and 1,000 for each tool that Anthropic defines |
| an image | what the provider publishes as its maximum: see `_IMAGE`; for OpenAI's newer models by its pixels |
| audio | one for each 10 bytes: 32 a second (Gemini, the highest) at 320 bytes a second, which no codec goes below |
| a PDF, a video, anything by URL or id | not known from the request: it makes the request `unbounded` |
"""

from __future__ import annotations

import math
import re
from typing import Final

from attrs import define

from cycles._metering.pixels import size_of

__all__ = ["BYTES_PER_AUDIO_TOKEN", "REQUEST_OVERHEAD", "Found", "image_tokens"]

REQUEST_OVERHEAD: Final = 256
BYTES_PER_AUDIO_TOKEN: Final = 10

_IMAGE: Final = {
    "anthropic": 4_784,  # 2,576 pixels on the long edge, in patches of 28; older models 1,568
    "google": 7_740,  # 258 for each of 30 tiles, of a picture ten times as long as wide; Gemini 3: 2,240
    "mistral": 4_224,  # 1,024 x 1,024 in patches of 16, and one for each row
}
_OPENAI_IMAGE: Final = (
    (re.compile(r"4o-mini"), 48_169),  # 2,833 + 8 tiles of 5,667
    (re.compile(r"^(gpt-4o|gpt-4\.1$|gpt-4\.1-20|gpt-4\.5|gpt-4-turbo|gpt-4-vision|chatgpt-4o|o1|o3)(?!-mini)"), 1_445),
)
_OPENAI_LOW: Final = 2_833
_OPENAI_PATCHES: Final = 24_600  # 10,000 patches ("original") at the dearest factor, 2.46
_OPENAI_HIGH: Final = 6_150  # 2,500 patches ("high")
_PATCH: Final = 32
_FACTOR: Final = 2.46
_NO_MOST: Final = re.compile(r"^(ft:)?gpt-([6-9]|\d\d)")
"""Models that take every pixel of an image, as many as there are, unless `detail` says otherwise."""
_ANY_IMAGE: Final = 16_384  # servers that speak OpenAI's wire: Qwen-VL's, the largest in use


def image_tokens(provider: str, model: str, detail: object = None, inline: object = None) -> int | None:
    """Return how many tokens one image is at most; None where that is not known.

    Args:
        provider: Whose maximum.
        model: The model that looks at it.
        detail: As the request says: "low", "high", "original", "auto".
        inline: The image in base64, if it is in the request.
    """
    if provider in _IMAGE:
        return _IMAGE[provider]
    if provider not in {"openai", "azure"}:
        return _ANY_IMAGE
    if detail == "low" and "mini" not in model and not model.startswith("gpt-5"):
        return _OPENAI_LOW
    for pattern, most in _OPENAI_IMAGE:
        if pattern.search(model):
            return most
    size = size_of(inline) if isinstance(inline, str) else None
    seen = None if size is None else math.ceil(math.prod(-(-side // _PATCH) for side in size) * _FACTOR)
    if _NO_MOST.match(model):
        return _OPENAI_HIGH if detail == "high" else seen
    return _OPENAI_PATCHES if seen is None else min(seen, _OPENAI_PATCHES)


@define
class Found:
    """What was found in a request beside text; `hidden` bytes are no text."""

    provider: str
    model: str
    hidden: int = 0
    images: int = 0
    audio: int = 0
    unbounded: tuple[str, ...] = ()

    def image(self, inline: object, detail: object = None) -> None:
        """Add an image: *inline* is its base64, if it is in the request."""
        tokens = image_tokens(self.provider, self.model, detail, inline)
        if tokens is None:
            self.unknown("an image")
        self.images += tokens or 0
        self._hide(inline)

    def sound(self, inline: object) -> None:
        """Add audio: *inline* is its base64; without it nobody knows how long it is."""
        if isinstance(inline, str):
            self.audio += -(-len(inline) * 3 // 4 // BYTES_PER_AUDIO_TOKEN) + 1
            self._hide(inline)
        else:
            self.unknown("audio by reference")

    def unknown(self, what: str, inline: object = None) -> None:
        """Add something that the request does not show the size of."""
        if what not in self.unbounded:
            self.unbounded = (*self.unbounded, what)
        self._hide(inline)

    def _hide(self, inline: object) -> None:
        if isinstance(inline, str) and not inline.startswith(("http:", "https:", "gs:")):
            self.hidden += len(inline)

    def input(self, text: int) -> int:
        """Return the bound of the input, for a body of *text* bytes."""
        return max(text - self.hidden, 0) + self.images + self.audio + REQUEST_OVERHEAD
