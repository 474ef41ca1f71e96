"""Ollama's /api."""
