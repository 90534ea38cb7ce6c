"""Tokens of a call: as its provider counted them, or as they can be estimated. Pure."""

from chatkeep.domain.model import Call, CallKind, Prompt, Status, Usage

BYTES_PER_TOKEN = 4
"""Of UTF-8: right within a third for English and for most other languages' tokenizers."""


def call(
    kind: CallKind,
    model: str,
    status: Status,
    *,
    prompt: Prompt,
    usage: Usage,
    written_bytes: int,
) -> Call:
    """What a call cost. What the provider did not count is estimated.

    A call that failed before any text was most likely refused, and cost nothing.

    Args:
        kind: What the call was for.
        model: As `provider:name`.
        status: How it ended.
        prompt: What was sent, for an estimate.
        usage: What the provider counted.
        written_bytes: UTF-8 of the answer, reasoning included, for an estimate.

    """
    read, written = usage.input_tokens, usage.output_tokens
    is_refused = status is Status.FAILED and not written_bytes and read is None
    return Call(
        kind=kind,
        model=model,
        status=status,
        input_tokens=read or (0 if is_refused else estimated(prompt)),
        output_tokens=written or _tokens(written_bytes),
        is_estimated=not is_refused and (read is None or (written is None and written_bytes > 0)),
    )


def estimated(prompt: Prompt) -> int:
    """About how many tokens a prompt has."""
    texts = [prompt.system or "", *(message.text for message in prompt.messages)]
    return sum(_tokens(len(text.encode())) for text in texts)


def _tokens(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)
