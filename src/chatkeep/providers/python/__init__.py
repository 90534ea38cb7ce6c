"""Objects of the operator's own Python code as models: LangChain's, LangGraph's, functions.

Nothing here knows the server's engine, and nothing is imported before a `python:` model is used.
LangGraph is never imported: an object that needs it has brought it along.

    loading       the object by its name
    loop_thread   the event loop that the objects run on
    runs          one run of an object
    requests      what an object gets
    graphs        runs of graphs; checkpoints and interrupts are what theirs begin and end with
    plain         runs of all other objects
    sequence      one order for messages that come at the same time
    pieces        the texts of what comes
"""
