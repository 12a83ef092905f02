"""What a request may look like, looked at part by part only where there are few.

A body of thousands of keys is refused in no time, where describing each of them takes minutes.
"""

from __future__ import annotations

from typing import Any

KEYS = frozenset({"inputs", "options"})
OPTIONS = 8
"""Options of a request."""
SHORT = 200
"""Characters of an option that is a text."""


def fault_of(content: Any, texts: int, parts: int) -> str | None:
    """What is wrong with the form of a request; None where the rest may look at every part of it.

    Args:
        texts: inputs that a request may have.
        parts: texts that an input may have.
    """
    if not isinstance(content, dict) or not content.keys() <= KEYS:
        return "the request must be an object of inputs and, if it likes, options"
    inputs, options = content.get("inputs"), content.get("options", {})
    several = inputs if isinstance(inputs, list) else [inputs]
    if len(several) > texts:
        return f"inputs: should have at most {texts} items"
    if any(isinstance(one, list) or (isinstance(one, dict) and len(one) > parts) for one in several):
        return f"inputs: each is a string, or an object of at most {parts} strings"
    if not isinstance(options, dict) or len(options) > OPTIONS:
        return f"options: must be an object of at most {OPTIONS} options"
    if not all(name.isascii() and name.isidentifier() and _is_option(value) for name, value in options.items()):
        return "options: each has a name, and is a number, true, false, null, a short string or a short list of those"
    return None


def _is_option(value: Any) -> bool:
    if isinstance(value, list):
        return (
            len(value) <= OPTIONS
            and not any(isinstance(one, list | dict) for one in value)
            and all(map(_is_option, value))
        )
    return not isinstance(value, dict) and (not isinstance(value, str) or len(value) <= SHORT)
