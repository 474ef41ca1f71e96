"""Cohere's own client, of both versions of its API."""

import os

import cohere

URL = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")


def embed(texts, types):
    client = cohere.ClientV2(api_key="none", base_url=URL)
    answer = client.embed(model="default", input_type="search_document", texts=texts, embedding_types=types)
    found = answer.embeddings.dict()
    return {
        "embeddings": {name.rstrip("_"): rows for name, rows in found.items() if rows},
        "texts": answer.texts,
        "tokens": answer.meta.billed_units.input_tokens,
    }


def embed_contents(texts):
    client = cohere.ClientV2(api_key="none", base_url=URL)
    inputs = [{"content": [{"type": "text", "text": text}]} for text in texts]
    return client.embed(model="default", input_type="search_document", inputs=inputs).embeddings.float_


def embed_as_before(texts):
    """The first version, in both of its forms."""
    client = cohere.Client(api_key="none", base_url=URL)
    flat = client.embed(model="default", input_type="search_document", texts=texts)
    typed = client.embed(model="default", input_type="search_document", texts=texts, embedding_types=["float"])
    return {
        "flat": flat.embeddings,
        "typed": typed.embeddings.float_,
        "kinds": [flat.response_type, typed.response_type],
    }


def rerank(query, documents):
    client = cohere.ClientV2(api_key="none", base_url=URL)
    answer = client.rerank(model="default", query=query, documents=documents, top_n=1)
    return [[result.index, result.relevance_score] for result in answer.results]


def refusals(texts):
    """What goes wrong, as an application sees it."""
    client = cohere.ClientV2(api_key="none", base_url=URL)
    wrong = (
        {"model": "nobody", "input_type": "search_query", "texts": texts},
        {"model": "default", "input_type": "image", "images": ["data:image/png;base64,AA"]},
    )
    return [refusal(client, fields) for fields in wrong]


def refusal(client, fields):
    try:
        client.embed(**fields)
    except cohere.core.api_error.ApiError as error:
        return [type(error).__name__, error.status_code, error.body["message"]]
