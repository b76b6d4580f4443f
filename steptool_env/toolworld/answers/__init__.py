"""Verification of answers: the text is parsed and compared with the values that a task asks for."""
