"""AgentScope's Flask services."""
