"""Agent for chat models behind an OpenAI-compatible endpoint."""
