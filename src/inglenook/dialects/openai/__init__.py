"""OpenAI's chat and completions, with the fields that vLLM, llama.cpp and others add."""
