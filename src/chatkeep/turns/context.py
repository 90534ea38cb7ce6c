"""What a model reads: the prompt of a turn. Pure: no clock, no I/O."""

from chatkeep.domain.model import Prompt, PromptMessage, Role, TurnOptions


def turn_prompt(
    message: str,
    *,
    context: tuple[PromptMessage, ...],
    options: TurnOptions,
    system_prompt: str | None,
) -> Prompt:
    """Build a turn's prompt: system prompt, then the newest messages, then the new one."""
    return Prompt(
        system=system_prompt,
        messages=(*context, PromptMessage(Role.USER, message)),
        temperature=options.temperature,
        max_tokens=options.max_tokens,
    )
