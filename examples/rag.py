"""Answers from a folder of text files, which a small embedding model searches on this machine.

Run it in this folder. The weights of the embedding model (16 MB) are in the package itself:

    pip install wordllama
    OPENAI_API_KEY=sk-... chatkeep serve --model notes=python:rag:chain

Ask it "May I bring my dog?". It reads the files in `notes/`.
"""

import os
from pathlib import Path

import wordllama
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI

FOLDER = Path(__file__).with_name("notes")


class WordLlamaEmbeddings(Embeddings):
    """256 numbers for a text, from a table of words: fast, and enough for a few thousand notes."""

    def __init__(self) -> None:
        # Version 0.4 looks for its tokenizer in the wrong folder, unless this one is its cache.
        package = Path(wordllama.__file__).parent
        self.model = wordllama.WordLlama.load(cache_dir=package, disable_download=True)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the embeddings of texts, each of length 1."""
        embeddings: list[list[float]] = self.model.embed(texts, norm=True).tolist()
        return embeddings

    def embed_query(self, text: str) -> list[float]:
        """Return the embedding of a question."""
        return self.embed_documents([text])[0]


def join(documents: list[Document]) -> str:
    """Put notes together, each behind the name of its file."""
    return "\n\n".join(f"{note.metadata['file']}: {note.page_content}" for note in documents)


store = InMemoryVectorStore(WordLlamaEmbeddings())
store.add_documents(
    [Document(path.read_text(), metadata={"file": path.name}) for path in FOLDER.glob("*.txt")]
)
retriever = store.as_retriever(search_kwargs={"k": 2})

prompt = ChatPromptTemplate(
    [
        ("system", "Answer from these notes only, and name the file:\n\n{notes}"),
        ("placeholder", "{history}"),
        ("user", "{input}"),
    ]
)
notes = RunnableLambda(lambda params: params["input"]) | retriever | join
model = ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-6-luna"), stream_usage=True)

chain = RunnablePassthrough.assign(notes=notes) | prompt | model | StrOutputParser()
