"""Domains of leisure: films, music, sports, events and food."""
