"""Turns that a request continues, for random conversations: branches, rewritten histories and forgotten turns."""

import random
import tracemalloc
from dataclasses import dataclass
from typing import Any
from weakref import ref

import pytest

from agents.gateway.conversations import Conversations, Prompt, Turn
from agents.gateway.protocol import Message
from agents.rollout.types import Sampled
from steptool_env.formats import make_format
from tests.agents.gateway.serving import chat_bundle

FUNCTIONS = [{"name": "find_city", "description": "", "parameters": {"type": "object", "properties": {}}}]
TEXTS = ["So.", "No.", '<tool_call>\n{"name": "find_city", "arguments": {"n": 1}}\n</tool_call>', "I will look."]


@dataclass
class Said:
    """An answer, and the chat up to it."""

    chat: list[Message]
    turn: Turn


def user(text: str) -> Message:
    return Message(role="user", content=text)


def reply(turn: Turn, text: str) -> Message:
    """Message after an answer: the result of its call, else one of the user."""
    calls = turn.message.tool_calls
    return Message(role="tool", tool_call_id=calls[0].id, content=text) if calls else user(text)


def record(conversations: Conversations, chat: list[Message], text: str, *, stopped: bool = True) -> Said:
    prompt = conversations.prompt(chat, FUNCTIONS)
    ids = conversations.codec.encode_action(text)
    ids = ids if stopped else ids[:-1]
    turn = conversations.record(prompt, Sampled(ids, [0.0] * len(ids), stopped), text)
    return Said([*chat, turn.message], turn)


def made(most: int | None = None) -> Conversations:
    return Conversations(chat_bundle().codec, make_format("hermes"), most=most)


@pytest.mark.parametrize("most", [None, 5])
def test_a_request_continues_the_turn_that_its_chat_ends_with(most: int | None) -> None:
    """Its tokens are those of the turn, then the new messages; another chat is encoded as a whole."""
    rng = random.Random(0)
    conversations = made(most)
    said: list[Said] = []
    recent: list[Turn] = []  # remembered ones, the latest last
    continued = rewritten = forgotten = 0
    for step in range(250):
        if not said or rng.random() < 0.15:
            said.append(record(conversations, [user(f"question {step}")], rng.choice(TEXTS)))
            assert said[-1].turn.parent is None
            recent.append(said[-1].turn)
        else:
            before = rng.choice(said[-6:])
            chat = [*before.chat, reply(before.turn, f"more {rng.randrange(3)}")]
            if rng.random() < 0.3:
                chat.append(user("And?"))
            changed = rng.random() < 0.3
            if changed:  # a message somewhere, as clients shorten or correct a history
                last = len(before.chat) - 1  # beside earlier calls a text does not count: clients leave it out
                place = rng.choice([n for n, each in enumerate(before.chat) if n == last or not each.tool_calls])
                chat[place] = chat[place].model_copy(update={"content": f"{chat[place].content} #"})
            prompt = conversations.prompt(chat, FUNCTIONS)
            known = before.turn in recent
            if changed or not known:
                assert prompt.parent is None
                rewritten, forgotten = rewritten + changed, forgotten + (not known)
            else:
                assert prompt.parent is before.turn
                kept = [*before.turn.prompt, *before.turn.sampled.ids]
                assert prompt.ids[: len(kept)] == kept
                closing = [] if before.turn.sampled.stopped else [conversations.codec.stop_id]
                new = [
                    {"role": "tool" if each.role == "tool" else "user", "content": each.content}
                    for each in chat[len(before.chat) :]
                ]
                assert prompt.ids[len(kept) :] == [*closing, *conversations.codec.encode_messages(new)]
                recent.remove(before.turn)
                recent.append(before.turn)
                continued += 1
            text = f"{rng.choice(TEXTS)} {step}" if rng.random() < 0.5 else f"{step} {rng.choice(TEXTS)}"
            said.append(record(conversations, chat, text, stopped=rng.random() < 0.7))
            if prompt.parent is not None:
                assert said[-1].turn.parent is before.turn
                recent.remove(before.turn)
                recent.append(before.turn)
            recent.append(said[-1].turn)
        while most is not None and len(recent) > most:
            recent.pop(0)
    assert continued > 40
    assert rewritten > 20
    assert (forgotten > 10) == (most is not None)


def test_branches_of_a_turn_are_continued_apart() -> None:
    conversations = made()
    root = record(conversations, [user("question")], "So.")
    left = record(conversations, [*root.chat, user("left")], "L.")
    right = record(conversations, [*root.chat, user("right")], "R.")
    assert left.turn.parent is right.turn.parent is root.turn
    for branch in (left, right):
        prompt = conversations.prompt([*branch.chat, user("more")], FUNCTIONS)
        assert prompt.parent is branch.turn
    mixed = [*root.chat, user("left"), right.turn.message, user("more")]
    assert conversations.prompt(mixed, FUNCTIONS).parent is None
    others = [{**FUNCTIONS[0], "name": "find_country"}]
    assert conversations.prompt([*left.chat, user("more")], others).parent is None


def test_calls_of_equal_text_have_ids_of_their_own() -> None:
    """So that the result of a call names the answer that made it."""
    conversations = made()
    one, other = (record(conversations, [user("question")], TEXTS[2]) for _ in range(2))
    ids = [each.turn.message.tool_calls[0].id for each in (one, other)]
    assert len(set(ids)) == 2
    for each in (one, other):
        prompt = conversations.prompt([*each.chat, reply(each.turn, "Norway")], FUNCTIONS)
        assert prompt.parent is each.turn
    choices = []
    prompt = conversations.prompt([user("question")], FUNCTIONS)
    for choice in range(2):
        ids_of = conversations.codec.encode_action(TEXTS[2])
        choices.append(conversations.record(prompt, Sampled(ids_of, [0.0] * len(ids_of), True), TEXTS[2], choice))
    assert len({turn.message.tool_calls[0].id for turn in choices} | set(ids)) == 4


def test_turns_that_are_forgotten_are_freed() -> None:
    """Each has the tokens of its whole prompt, so that a long conversation would hold the square of its length."""
    conversations = made(most=3)
    said = record(conversations, [user("question")], "0.")
    turns = [ref(said.turn)]
    for number in range(1, 10):
        said = record(conversations, [*said.chat, user("more")], f"{number}.")
        turns.append(ref(said.turn))
    assert [turn() is None for turn in turns] == [True] * 7 + [False] * 3
    newest: Any = turns[-1]()
    assert newest.parent is turns[-2]()
    assert conversations.prompt([*said.chat, user("more")], FUNCTIONS).parent is newest


@pytest.mark.parametrize(
    ("tokens", "sampled", "letters"), [(30_000, 20, 50), (100, 4000, 50), (100, 20, 60_000), (20, 3, 5)]
)
def test_turns_take_no_more_memory_than_they_may(tokens: int, sampled: int, letters: int) -> None:
    """Long prompts, long answers, long texts and many short ones; without the limit they take four times that."""
    limit, conversations = 2**20, made(most=None)
    conversations.most_bytes = limit

    def say(number: int) -> Turn:
        """An answer whose tokens, log-probabilities and text are objects of its own."""
        ids, scores = [1000 + n for n in range(sampled)], [number + n / 7 for n in range(sampled)]
        prompt = Prompt([1000 + n for n in range(tokens)], (), number.to_bytes(16, "big"))
        return conversations.record(prompt, Sampled(ids, scores, True), f"{number} " + letters * chr(300 + number % 2))

    size = say(0).size
    tracemalloc.start()
    try:
        turns = [ref(say(number)) for number in range(1, 2 + 4 * limit // size)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    alive = [turn() is not None for turn in turns]
    assert taken < 1.1 * limit
    assert alive == sorted(alive)  # the latest
    assert limit // size - 1 <= sum(alive) <= limit // size


def test_a_turn_beyond_the_limit_is_remembered_until_the_next() -> None:
    conversations = made()
    conversations.most_bytes = 1
    said = record(conversations, [user("question")], "So.")
    assert conversations.prompt([*said.chat, user("more")], FUNCTIONS).parent is said.turn
    record(conversations, [user("another question")], "No.")
    assert conversations.prompt([*said.chat, user("more")], FUNCTIONS).parent is None


def test_an_answer_that_is_given_again_counts_once() -> None:
    conversations = made()
    for _ in range(3):
        said = record(conversations, [user("question")], "So.")
    assert conversations._bytes == said.turn.size
