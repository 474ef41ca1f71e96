"""The llama.cpp server's own routes: completion, infill, props and slots."""
