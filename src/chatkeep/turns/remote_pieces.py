"""Pieces of turns on their way from one process to another, through the database."""

import orjson

from chatkeep.domain.blocks import Segment
from chatkeep.domain.model import Message, Role, Status
from chatkeep.store.exchange import MESSAGE, REASONING, Chunk
from chatkeep.turns.stream import Piece


def to_chunk(turn_id: str, attempt: int, piece: Piece) -> Chunk:
    """The piece as it is stored for the followers of its turn."""
    if piece.step is not None:
        return Chunk(turn_id, attempt, piece.start, orjson.dumps(piece.step).decode(), MESSAGE)
    is_reasoning, text = piece.segment
    return Chunk(turn_id, attempt, piece.start, text, REASONING if is_reasoning else None)


def to_piece(chunk: Chunk) -> Piece:
    """The piece that a follower reads."""
    if chunk.kind != MESSAGE:
        return Piece(chunk.start, Segment(chunk.kind == REASONING, chunk.text), None)
    fields = orjson.loads(chunk.text)
    blocks = fields["blocks"]
    fields |= {"role": Role(fields["role"]), "status": Status(fields["status"])}
    step = Message(**{**fields, "blocks": None if blocks is None else tuple(blocks)})
    return Piece(chunk.start, Segment(False, ""), step)
