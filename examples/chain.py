"""A LangChain chain: a prompt, a model and a parser, as LangChain's own tutorials write it.

Run it in this folder. It needs no package that Chatkeep does not install:

    OPENAI_API_KEY=sk-... chatkeep serve --model pirate=python:chain:chain

`OPENAI_BASE_URL` and `OPENAI_MODEL` choose another server with OpenAI's API, and its model.
"""

import os

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

prompt = ChatPromptTemplate(
    [
        ("system", "You are a helpful pirate. Answer in one or two sentences, as a pirate would."),
        # Chatkeep also passes "input", the new message's text, and "history", all before it.
        ("placeholder", "{messages}"),
    ]
)
# LangChain asks a server that is not OpenAI's own for its usage only with `stream_usage`.
model = ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-6-luna"), stream_usage=True)

chain = prompt | model | StrOutputParser()
