"""Domains of public services: education and clinics."""
