"""Why a command ends: its exit code, and the one line on standard error."""

from enum import IntEnum

from chatkeep.cli.output import one_line


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    """The command line or the settings cannot be used."""
    NOT_FOUND = 3
    INTERRUPTED = 130
    """As a shell reports a program that SIGINT has ended."""
    UNREAD = 141
    """As a shell reports a program that SIGPIPE has ended: the reader of the output is gone."""


class CommandError(Exception):
    """Ends a command, or a step of a conversation, with a sentence for people."""

    def __init__(self, detail: str, *, status: int | None = None) -> None:
        """Make an error.

        Args:
            detail: The sentence. It is printed as one line, without control characters.
            status: The HTTP status, if a server has answered.

        """
        super().__init__(one_line(detail))
        self.status = status

    @property
    def exit_code(self) -> ExitCode:
        """The code with which a command ends for this error."""
        return ExitCode.FAILED


class NotFound(CommandError):
    """The server has answered 404."""

    @property
    def exit_code(self) -> ExitCode:
        """Always `NOT_FOUND`."""
        return ExitCode.NOT_FOUND
