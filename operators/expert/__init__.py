"""The last level: an LLM, or its recorded answers."""
