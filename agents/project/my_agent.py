"""Agent that calls the function with the largest word overlap with the query and repeats its response."""

import json
import re

from agents.base import EpisodeAgent, Info
from steptool_env.formats import make_format


class MyAgent(EpisodeAgent[Info]):
    """Replace `decide` by a decision of your own, e.g. a request to your model."""

    def __init__(self) -> None:
        super().__init__("my-agent")

    def begin(self, info: Info) -> Info:
        """Keep what the episode starts with: `messages`, `functions`, `format`, `calls_left`."""
        return info

    def decide(self, episode: Info, observation: str, info: Info) -> str:
        """Return the next action: one call, then the answer."""
        call_format = make_format(episode["format"])
        if info["calls_left"] < episode["calls_left"]:
            answer = {"return_type": "give_answer", "final_answer": observation}
            return call_format.render("Finish", json.dumps(answer))
        query = episode["messages"][-1]["content"]
        *tools, finish = episode["functions"]
        best = max(tools, key=lambda tool: _overlap(tool["name"] + " " + tool["description"], query), default=finish)
        names = re.findall(r"[A-Z]\w+(?: [A-Z]\w+)*", query)[1:] or [query]
        arguments = dict.fromkeys(best["parameters"].get("required", []), names[0])
        return call_format.render(best["name"], json.dumps(arguments))


def _overlap(text: str, query: str) -> int:
    return len(set(re.findall(r"\w+", text.lower())) & set(re.findall(r"\w+", query.lower())))
