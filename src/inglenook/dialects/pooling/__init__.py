"""Embeddings, reranking and scores, as several servers have them."""
