"""Idioms: how people ask for what hand-written operations compute or change, and where things are."""

from __future__ import annotations

PLACED_IN = frozenset({"city", "country"})
"""Entity types that things are *in*; of all others they are *of*."""

COMPUTED = {
    "city.distance": "the distance from {origin_id} to {destination_id}",
    "travel.time": "the time it takes to cover {distance} at {speed}",
    "currency.convert": "the value of {amount} in {currency_id}",
    "currency.to_usd": "the value in USD of {foreign_amount} units of {currency_id}",
    "bill.split": "{asked} for a bill of {amount} with a tip of {percent} shared by {people} people",
}
"""Operation -> noun phrase; `{input}` stands for an input, `{asked}` for the labels of what is asked."""

ORDERED = {
    "hotel.book": "book {hotel_id} for {guest}, arriving on {date}",
    "reservation.cancel": "cancel {reservation_id}",
    "reservation.move": "move {reservation_id} to {new_date}",
}
"""Operation -> imperative."""
