"""The world's own calendar: every world has one fixed today, and no clock is ever read."""

from __future__ import annotations

from datetime import date, timedelta

TODAY = date(2031, 5, 12)
HORIZON = 30  # days ahead for which the world schedules trips, events and weather
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def day(offset: int) -> str:
    """The ISO date `offset` days from today."""
    return (TODAY + timedelta(days=offset)).isoformat()


def offset_of(iso: str) -> int:
    """Days from today to an ISO date; negative for the past. Raises `ValueError` for no such date."""
    return (date.fromisoformat(iso) - TODAY).days


def weekday(iso: str) -> str:
    """The English name of a date's day of the week."""
    return WEEKDAYS[date.fromisoformat(iso).weekday()]


def clock(minutes: int) -> str:
    """Minutes after midnight as `HH:MM`; beyond a day it wraps around."""
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"
