"""Domains of business: currencies, companies, shopping and logistics."""
