"""The tone of a query: terse, plain, polite, chatty or brisk."""

from __future__ import annotations

from toolserver.world.streams import Stream

_ASK = {
    "lite": (
        "What is {it}?", "Find {it}.", "Tell me {it}.", "I need {it}.", "Give me {it}.", "Please look up {it}.",
    ),
    "standard": (
        "What is {it}?", "Find {it}.", "Can you tell me {it}?", "I need to know {it}.", "{It}, please.",
        "Could you look up {it} for me?", "I'm trying to find out {it}.", "Quick question: what is {it}?",
        "For a report I need {it}. Please look it up.", "Do you happen to know {it}?",
    ),
    "full": (
        "What is {it}?", "I would like to know {it}.", "Could you please find out {it}? Use any service you have.",
        "Hi! I'm putting together some notes and one thing is missing: {it}. Can you help me with that?",
        "My sister keeps asking me about {it}. I'd love to finally give her an answer.",
        "I've been searching for a while without success. All I need is {it}.",
        "Please check the available sources and report {it}.", "For a presentation tomorrow I need {it}.",
        "Hey, can you quickly tell me {it}? Thanks a lot!", "We are comparing a few options and need {it}.",
        "{It} - that is all I need to know.", "As part of an audit, kindly determine {it}.",
    ),
}  # fmt: skip
_ORDER = {
    "lite": ("Please {it}.", "{It}.", "I want you to {it}."),
    "standard": (
        "Please {it}.", "{It}.", "Can you {it}?", "I'd like you to {it}.", "Could you {it} for me?",
        "Go ahead and {it}, please.",
    ),
    "full": (
        "Please {it}.", "Could you please {it} for me? Let me know once it is done.", "I'd like you to {it}.",
        "Hi there! I'm a bit short of time today, so could you {it}? Thank you!", "Kindly {it}.",
        "My assistant is away; please {it} and confirm.", "Go ahead and {it}, then tell me that it worked.",
    ),
}  # fmt: skip


def question(phrase: str, level: str, stream: Stream) -> str:
    """A query that asks for what the noun phrase says."""
    return _fill(stream.pick(_ASK[level]), phrase)


def request(phrase: str, level: str, stream: Stream) -> str:
    """A query that wants done what the imperative says."""
    return _fill(stream.pick(_ORDER[level]), phrase)


def _fill(frame: str, phrase: str) -> str:
    return frame.replace("{it}", phrase).replace("{It}", phrase[0].upper() + phrase[1:])
