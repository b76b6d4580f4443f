"""Frames: opening, request and close of a query, per level."""

from typing import NamedTuple


class Frame(NamedTuple):
    """A frame of a query.

    Attributes:
        ask: Sentence that asks or orders. `{it}` is the noun phrase, clause or imperative, `{be}` e.g. `Who is`.
        open: First sentence; may be empty.
        close: Last sentence; may be empty.
    """

    ask: str
    open: str = ""
    close: str = ""


NOUNS = {
    "lite": (
        Frame("{be} {it}?"),
        Frame("{be} {it}?"),
        Frame("Find {it}."),
        Frame("Tell me {it}."),
        Frame("I need {it}."),
        Frame("Give me {it}."),
        Frame("Please look up {it}."),
    ),
    "standard": (
        Frame("{be} {it}?"),
        Frame("{be} {it}?"),
        Frame("Find {it}."),
        Frame("Can you tell me {it}?"),
        Frame("I need to know {it}."),
        Frame("Could you look up {it} for me?"),
        Frame("I'm trying to find out {it}."),
        Frame("{be} {it}?", "Quick question."),
        Frame("I need {it}.", "This is for a report.", "Please look it up."),
        Frame("Do you happen to know {it}?"),
    ),
    "full": (
        Frame("{be} {it}?"),
        Frame("I would like to know {it}."),
        Frame("Could you please find out {it}?", "", "Use any service you have."),
        Frame("I still need {it}.", "Hi! I'm putting together some notes.", "Can you help me with that?"),
        Frame(
            "She wants to know {it}.",
            "My sister keeps asking me about something.",
            "I'd love to finally give her an answer.",
        ),
        Frame("I only need {it}.", "I've been searching for a while without success."),
        Frame("Please check the available sources and report {it}."),
        Frame("I need {it}.", "I have a presentation tomorrow."),
        Frame("Can you quickly tell me {it}?", "Hey!", "Thanks a lot!"),
        Frame("We need {it}.", "We are comparing a few options."),
        Frame("Kindly determine {it}.", "This is part of an audit."),
        Frame("{be} {it}?", "", "That is all I need to know."),
    ),
}
"""Level -> frames for a noun phrase of a value."""

THINGS = {
    "lite": (Frame("{be} {it}?"), Frame("Find {it}."), Frame("Give me {it}."), Frame("Please look up {it}.")),
    "standard": (
        Frame("{be} {it}?"),
        Frame("Find {it}."),
        Frame("Could you look up {it} for me?"),
        Frame("I'm looking for {it}."),
        Frame("{be} {it}?", "Quick question."),
        Frame("I need {it}.", "This is for a report.", "Please look it up."),
    ),
    "full": (
        Frame("{be} {it}?"),
        Frame("Could you please find {it}?", "", "Use any service you have."),
        Frame("I still need {it}.", "Hi! I'm putting together some notes.", "Can you help me with that?"),
        Frame("I only need {it}.", "I've been searching for a while without success."),
        Frame("Please check the available sources and report {it}."),
        Frame("I'm looking for {it}.", "Hey!", "Thanks a lot!"),
        Frame("Kindly determine {it}.", "This is part of an audit."),
        Frame("{be} {it}?", "", "That is all I need to know."),
    ),
}
"""Level -> frames for a noun phrase of a row."""

CLAUSES = {
    "lite": (
        Frame("Tell me {it}."),
        Frame("Find out {it}."),
        Frame("I need to know {it}."),
        Frame("Please look up {it}."),
    ),
    "standard": (
        Frame("Tell me {it}."),
        Frame("Can you tell me {it}?"),
        Frame("I need to know {it}."),
        Frame("Find out {it}."),
        Frame("Could you look up {it} for me?"),
        Frame("I'm trying to find out {it}."),
        Frame("I need to know {it}.", "This is for a report.", "Please look it up."),
        Frame("Do you happen to know {it}?"),
    ),
    "full": (
        Frame("I would like to know {it}."),
        Frame("Could you please find out {it}?", "", "Use any service you have."),
        Frame("I still need to know {it}.", "Hi! I'm putting together some notes.", "Can you help me with that?"),
        Frame(
            "She wants to know {it}.",
            "My sister keeps asking me about something.",
            "I'd love to finally give her an answer.",
        ),
        Frame("I only need to know {it}.", "I've been searching for a while without success."),
        Frame("Please check the available sources and report {it}."),
        Frame("I need to know {it}.", "I have a presentation tomorrow."),
        Frame("Can you quickly tell me {it}?", "Hey!", "Thanks a lot!"),
        Frame("We need to know {it}.", "We are comparing a few options."),
        Frame("Kindly determine {it}.", "This is part of an audit."),
    ),
}
"""Level -> frames for a clause."""

QUESTIONS = {
    "lite": (Frame("{it}?"),),
    "standard": (Frame("{it}?"), Frame("{it}?", "Quick question.")),
    "full": (Frame("{it}?"), Frame("{it}?", "", "Thanks!"), Frame("{it}?", "I have a question.")),
}
"""Level -> frames for a clause that is a question (`which hotel in Talby has the highest rating`)."""

ORDERS = {
    "lite": (Frame("Please {it}."), Frame("{it}."), Frame("I want you to {it}.")),
    "standard": (
        Frame("Please {it}."),
        Frame("{it}."),
        Frame("Can you {it}?"),
        Frame("I'd like you to {it}."),
        Frame("Could you {it} for me?"),
        Frame("Go ahead and {it}, please."),
    ),
    "full": (
        Frame("Please {it}."),
        Frame("Could you please {it} for me?", "", "Let me know once it is done."),
        Frame("I'd like you to {it}."),
        Frame("Could you {it}?", "Hi there! I'm a bit short of time today.", "Thank you!"),
        Frame("Kindly {it}."),
        Frame("Please {it}.", "My assistant is away.", "Then confirm."),
        Frame("Go ahead and {it}.", "", "Then tell me that it worked."),
    ),
}
"""Level -> frames for an imperative."""

INTRODUCTIONS = {
    "thing": ("find {it}", "look up {it}", "take {it}", "start with {it}"),
    "value": ("find {it}", "look up {it}", "find out {it}", "get {it}"),
}
"""Imperatives that introduce a row (`thing`) or a value; the last one for a row is for the first sentence alone."""
