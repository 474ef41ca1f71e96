"""OpenAIEmbeddings of langchain-openai, as an application uses them."""

import os
from unittest import mock

import httpx
from langchain_openai import OpenAIEmbeddings

MODEL = "all-minilm:l6-v2"


class ServersTokens:
    """In place of OpenAI's tokenizer, which knows other models: the server's own, asked over HTTP."""

    def encode(self, text, **options):
        body = {"model": MODEL, "prompt": text}
        return httpx.post(f"{os.environ['OPENAI_BASE_URL']}/tokenize", json=body).json()["tokens"]

    encode_ordinary = encode


def embed(texts):
    """As the documentation says for models that aren't OpenAI's: it sends texts."""
    embeddings = OpenAIEmbeddings(model=MODEL, check_embedding_ctx_length=False)
    return {"documents": embeddings.embed_documents(texts), "query": embeddings.embed_query(texts[0])}


def embed_token_ids(texts):
    """As it is without options: it sends lists of token ids, a few of them at a time."""
    with mock.patch("tiktoken.encoding_for_model", return_value=ServersTokens()):
        return OpenAIEmbeddings(model=MODEL, chunk_size=2).embed_documents(texts)


async def embed_many(texts):
    return await OpenAIEmbeddings(model=MODEL, check_embedding_ctx_length=False).aembed_documents(texts)
