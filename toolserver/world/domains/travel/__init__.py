"""Domains of travel: places, weather, flights, trains and hotels."""
