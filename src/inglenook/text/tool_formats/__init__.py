"""How families of models write tool calls: one file a family; registry.py has them by name and detects them."""
