"""What a turn is: accepted, run, ended, and taken up again after a crash. No HTTP, no SQL."""

from chatkeep.engine.engine import Engine
from chatkeep.engine.running import EngineOptions

__all__ = ["Engine", "EngineOptions"]
