"""What a server must make of a conversation: a model of it that shares no code with the server.

It follows the contract's words: a turn's message goes below the active branch's last message, or
below the one that its client names; turns of a session run one after the other, in the order in
which they came; a reply is a child of its message; what is newest is the head.
"""

from dataclasses import dataclass, field

MAX_ATTEMPTS = 3
DAY = 24 * 3_600
CLOCK_SKEW = 5 * 60
"""By how much the times of an import may be ahead of the server's clock."""


def pieces_of(content: str) -> list[str]:
    """What the model of the run answers, piece by piece."""
    return ["Reply to: ", content]


def reply_to(content: str) -> str:
    return "".join(pieces_of(content))


@dataclass
class Message:
    id: str
    parent: str | None
    role: str
    content: str
    status: str
    turn: str


@dataclass
class Turn:
    """A turn that was accepted; `below` is the message that its client continues from."""

    id: str
    question: str
    reply: str
    content: str
    accepted: int
    names_parent: bool = False
    below: str | None = None
    regenerates: bool = False
    status: str = "queued"
    attempt: int = 0
    text: str = ""


@dataclass
class Conversation:
    """One session. Times are whole seconds of the server's clock."""

    updated: int
    messages: dict[str, Message] = field(default_factory=dict)
    turns: dict[str, Turn] = field(default_factory=dict)
    head: str | None = None
    running: Turn | None = None
    waiting: list[Turn] = field(default_factory=list)
    """In their order; a cancelled one stays until it would be the next."""
    title: str | None = None
    settings: dict[str, object] = field(
        default_factory=lambda: {"pinned": False, "archived": False, "metadata": {}}
    )

    @property
    def is_idle(self) -> bool:
        return self.running is None

    @property
    def ended(self) -> list[Turn]:
        return [turn for turn in self.turns.values() if turn.status not in {"queued", "running"}]

    @property
    def branch(self) -> list[Message]:
        """The active branch, oldest first."""
        path: list[Message] = []
        at = self.head
        while at is not None:
            path.insert(0, self.messages[at])
            at = self.messages[at].parent
        return path

    def children(self, parent: str | None) -> list[str]:
        return [message.id for message in self.messages.values() if message.parent == parent]

    def touch(self, clock: int) -> None:
        """A session's time never goes backwards."""
        self.updated = max(self.updated, clock)

    def import_times(self, clock: int) -> None:
        """A session whose time is ahead of the clock is imported as if it were of now."""
        self.updated = min(self.updated, clock + CLOCK_SKEW)

    def accept(self, turn: Turn, clock: int) -> None:
        self.touch(clock)
        turn.accepted = self.updated
        self.turns[turn.id] = turn
        self.waiting.append(turn)
        self._start_next()

    def end(self, status: str, text: str, clock: int) -> None:
        """The running turn ends; the next begins."""
        turn = self.running
        assert turn is not None
        self.touch(clock)
        turn.status, turn.text, self.running = status, text, None
        if text:
            reply = Message(turn.reply, turn.question, "assistant", text, status, turn.id)
            self.messages[reply.id] = reply
            self.head = reply.id
        if not turn.regenerates or status == "completed":
            self.messages[turn.question].status = status
        self._start_next()

    def restart(self, clock: int) -> None:
        """The process died: a turn runs again, three times in all."""
        if self.running is None:
            return
        if self.running.attempt < MAX_ATTEMPTS:
            self.running.attempt += 1
        else:
            self.end("interrupted", "", clock)

    def choose(self, message: str, clock: int) -> None:
        """The branch of a message, to the newest below it, becomes the active one."""
        self.touch(clock)
        while below := self.children(message):
            message = below[-1]
        self.head = message

    def expires(self, clock: int, days: int) -> bool:
        return self.is_idle and not self.waiting and self.updated < clock - days * DAY

    def _start_next(self) -> None:
        while self.running is None and self.waiting:
            turn = self.waiting.pop(0)
            if turn.status == "queued":
                turn.status, turn.attempt, self.running = "running", 1, turn
            if not turn.regenerates:
                parent = turn.below if turn.names_parent else self.head
                entered = Message(turn.question, parent, "user", turn.content, turn.status, turn.id)
                self.messages[entered.id] = entered
                self.head = entered.id
