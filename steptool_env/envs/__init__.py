"""Registered environments. Their modules are imported when an environment is made."""
