"""TRL's own `GRPOTrainer` plays ToolWorld with native tools, and trains on step rewards."""

import inspect
import json
import os
import pickle
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

pytest.importorskip("trl", reason="needs TRL: pip install 'steptool-env[trl]'")
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.utils import get_json_schema
from trl import GRPOConfig, GRPOTrainer

from agents.integrations.trl import StepGRPOTrainer
from agents.integrations.turns import rewards_of_turns, turns
from agents.models.policy import Policy
from agents.rollout.types import TokenEpisode
from agents.training.advantages import broadcast_to_tokens, compute_advantages, make_estimator, rloo, step_grpo
from agents.training.batch import collate, pad_rows
from agents.training.config import make_config
from agents.training.forward import forward
from agents.training.losses import ppo_loss
from steptool_env.errors import ConfigurationError
from steptool_env.formats import make_format
from steptool_env.integrations.attempts import Attempt
from steptool_env.integrations.trl import OVER, Environments, episode_reward, final_rewards, toolworld_environment
from tests.integrations.oracle import play
from tests.server_stub import QuietHandler, running

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
torch.set_num_threads(1)
SPLIT, TASKS, COPIES, STEPS = "depth-2", 2, 4, 65


def oracle_calls(index: int) -> list[tuple[str, dict[str, Any], str]]:
    """Name, arguments and observation of the oracle's calls of a task."""
    parse = make_format("openai").parse
    calls = ((parse(text), step.observation) for text, step in play(index, format="openai")[1])
    return [(action.name, json.loads(action.arguments), observation) for action, observation in calls]


@pytest.fixture(scope="module")
def environments() -> Environments:
    return toolworld_environment(TASKS, split=SPLIT)


@pytest.fixture(scope="module")
def tokenizer(environments: Environments) -> PreTrainedTokenizerFast:
    """Byte-level tokenizer of the tasks' texts, with TRL's template of Qwen3."""
    template = (files("trl") / "chat_templates" / "qwen3.jinja").read_text()
    texts = [template, *(factory.functions for factory in environments.values())]
    texts += [json.dumps(row["prompt"]) for row in environments.rows] * 2
    texts += [json.dumps(call) for index in range(TASKS) for call in oracle_calls(index)] * 2
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    found.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=2500, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    made = PreTrainedTokenizerFast(tokenizer_object=found, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.add_tokens(["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"])
    made.chat_template = template
    return made


def test_tasks_that_add_functions_in_a_later_turn_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"task 'toy-0' of 'turns' offers say_it_for_echo in a later turn"):
        toolworld_environment(1, env_id="tests.steptool_env.toy_turns:Toys/Turns-v0")


MakeTrainer = Callable[..., Any]


@pytest.fixture(scope="module")
def make_trainer(
    environments: Environments, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> MakeTrainer:
    """Make trainers of one tiny model, which has imitated the oracle until it often repeats its calls."""
    torch.manual_seed(0)
    size = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4}
    size |= {"num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 2048, "vocab_size": len(tokenizer)}
    tokens = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = Qwen3ForCausalLM(Qwen3Config(**size, **tokens, tie_word_embeddings=True))
    folder = str(tmp_path_factory.mktemp("trl"))

    def make(kind: type[GRPOTrainer] = StepGRPOTrainer, given: Any = environments, **arguments: Any) -> Any:
        config = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=COPIES,
            num_generations=COPIES,
            steps_per_generation=TASKS,
            gradient_accumulation_steps=TASKS,
            max_steps=3,
            learning_rate=1e-4,
            max_completion_length=512,
            max_tool_calling_iterations=4,
            generation_kwargs={"max_new_tokens": 80},
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
            logging_steps=1,
        )
        rows = Dataset.from_list(environments.rows)
        return kind(
            model=model,
            args=config,
            train_dataset=rows,
            processing_class=tokenizer,
            environment_factory=given,
            **arguments,
        )

    imitate_the_oracle(make(), environments)
    return make


def imitate_the_oracle(trainer: Any, environments: Environments) -> None:
    """Train on the oracle's conversations, as TRL builds them."""
    tokenizer, rows = trainer.processing_class, []

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    for index, row in enumerate(environments.rows):
        trainer._batch_environments = [row["environment"]]
        ids = list(trainer._tokenize_prompts([row["prompt"]])[0][0])
        labels = [-100] * len(ids)
        for name, arguments, observation in oracle_calls(index):
            said = encode(call_text(name, arguments))
            answer = trainer._get_tool_suffix_ids([{"role": "tool", "name": name, "content": observation}])
            ids, labels = [*ids, *said, *answer], [*labels, *said, *[-100] * len(answer)]
        rows.append(([*ids, *encode("Done.<|im_end|>")], [*labels, *encode("Done.<|im_end|>")]))
    ids, labels = (
        pad_rows(part, fill, torch.long) for part, fill in zip(zip(*rows, strict=True), (0, -100), strict=True)
    )
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        trainer.model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def call_text(name: str, arguments: dict[str, Any]) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call><|im_end|>"


def called(text: str) -> str:
    """Name of the function that a turn calls; empty where the turn has no call that TRL can read."""
    found = re.search(r"<tool_call>\n(\{.*\})\n</tool_call>", text)
    try:
        return str(json.loads(found[1])["name"]) if found else ""
    except (ValueError, KeyError):
        return ""


class Batch:
    """A batch that a trainer has generated, with what its environments saw."""

    def __init__(self, trainer: Any) -> None:
        rows = [row for row in trainer.train_dataset for _ in range(COPIES)]
        torch.manual_seed(3)
        self.tensors = trainer._generate_and_score_completions([dict(row) for row in rows])
        self.environments = trainer.environments
        self.rewards = [final_rewards(environment) or () for environment in self.environments]
        self.mask = (self.tensors["completion_mask"] * self.tensors["tool_mask"]).bool()

    def spans(self, row: int) -> list[tuple[int, int]]:
        """Half-open ranges of the trained turns of a rollout, in its completion."""
        edges = torch.diff(self.mask[row].int(), prepend=torch.zeros(1), append=torch.zeros(1)).tolist()
        begins, ends = ([at for at, edge in enumerate(edges) if edge == sign] for sign in (1, -1))
        return list(zip(begins, ends, strict=True))

    def episodes(self, tokenizer: Any) -> list[TokenEpisode]:
        """The rollouts as our own episodes: a step for each turn, with the reward of the call that it wrote."""
        made = []
        for row in range(len(self.rewards)):
            prompt = self.tensors["prompt_ids"][row][self.tensors["prompt_mask"][row].bool()].tolist()
            completion = self.tensors["completion_ids"][row].tolist()
            spans, left, rewards = self.spans(row), list(self.rewards[row]), []
            for begin, end in spans:
                name = called(tokenizer.decode(completion[begin:end]))
                rewards.append(left.pop(0) if left and hasattr(self.environments[row], name) else 0.0)
            assert not left
            shifted = tuple((begin + len(prompt), end + len(prompt)) for begin, end in spans)
            ids = (*prompt, *completion[: spans[-1][1]])
            count = sum(end - begin for begin, end in spans)
            made.append(TokenEpisode(ids, shifted, (0.0,) * count, tuple(rewards), group=row // COPIES))
        return made


@pytest.fixture(scope="module")
def batch(make_trainer: MakeTrainer) -> Batch:
    return Batch(make_trainer())


def test_the_tools_are_the_functions_of_the_task(environments: Environments) -> None:
    env = Attempt("StepTool/ToolWorld-v0", {"split": SPLIT, "format": "openai"})
    assert len(environments) == TASKS
    for row in environments.rows:
        functions = {each["name"]: each for each in env.reset(row["task"])["functions"]}
        environment = environments[row["environment"]]()
        methods = dict(inspect.getmembers(type(environment), predicate=inspect.isfunction))
        public = {name for name in methods if not name.startswith("_")}
        assert public == {*functions, "reset", "get_reward"}
        for name, function in functions.items():
            offered, ours = get_json_schema(getattr(environment, name))["function"], function["parameters"]
            assert offered["description"] == " ".join(function["description"].split())
            assert offered["parameters"]["required"] == ours["required"]
            assert list(offered["parameters"]["properties"]) == list(ours["properties"])
            for parameter, schema in ours["properties"].items():
                shown = offered["parameters"]["properties"][parameter]
                assert shown["type"] == schema["type"]
                assert shown.get("enum") == schema.get("enum")
                assert shown["description"].startswith(schema.get("description", "") or parameter.replace("_", " "))
                assert str(schema.get("example_value", "")) in shown["description"]


def test_every_function_of_the_world_becomes_a_tool() -> None:
    """Names, parameters and texts of all kinds: none may be cut or taken for another's."""
    for env_id, arguments in (
        ("StepTool/ToolWorld-v0", {"split": "train", "level": "full"}),
        ("StepTool/StableToolBench-v0", {"suite": "G3_instruction"}),
    ):
        tasks = 6 if "World" in env_id else 2
        for factory in toolworld_environment(tasks, env_id=env_id, **arguments).values():
            environment = factory()
            for function in json.loads(factory.functions):
                schema = get_json_schema(getattr(environment, function["name"]))["function"]
                assert set(schema["parameters"]["properties"]) == set(function["parameters"]["properties"])
                for name, shown in schema["parameters"]["properties"].items():
                    ours = " ".join(function["parameters"]["properties"][name].get("description", "").split())
                    assert shown["description"].startswith(ours[:20].replace("Args:", "Args -"))


def test_the_prompt_has_native_tools_and_no_other_format(make_trainer: MakeTrainer, environments: Environments) -> None:
    trainer = make_trainer()
    for row in environments.rows:
        trainer._batch_environments = [row["environment"]]
        text = trainer.processing_class.decode(trainer._tokenize_prompts([row["prompt"]])[0][0])
        assert row["prompt"][-1]["content"] in text
        assert all(
            f'"name": "{each["name"]}"' in text for each in json.loads(environments[row["environment"]].functions)
        )
        for word in ("Action Input", "Thought:", "AutoGPT"):
            assert word not in text


def test_an_environment_gives_the_answers_and_rewards_of_gymnasium(environments: Environments) -> None:
    for index, row in enumerate(environments.rows):
        environment: Any = pickle.loads(pickle.dumps(environments[row["environment"]]))()
        assert environment.reset(**row) is None
        for name, arguments, observation in oracle_calls(index):
            assert getattr(environment, name)(**arguments) == observation
        assert environment.Finish(return_type="give_up_and_restart") == OVER
        assert environment.get_reward() == pytest.approx(1)
        environment.reset(**row)
        name, arguments, _ = oracle_calls(index)[0]
        getattr(environment, name)(**arguments)
        assert environment.get_reward() == 0.25  # judged on what was done
        assert getattr(environment, name)(**arguments) == OVER


def test_a_tool_server_that_is_away_gives_no_reward(environments: Environments) -> None:
    with running(QuietHandler) as server:  # answers no call
        away = toolworld_environment(1, split=SPLIT, server_url=f"http://127.0.0.1:{server.server_port}")
        (row,) = away.rows
        environment: Any = away[row["environment"]]()
        environment.reset(**row)
        name, arguments, _ = oracle_calls(0)[0]
        getattr(environment, name)(**arguments)
    assert environment.get_reward() is None
    assert episode_reward([environment]) == [None]


def test_wrong_arguments_are_named(make_trainer: MakeTrainer, environments: Environments) -> None:
    with pytest.raises(ConfigurationError, match="format='react'"):
        toolworld_environment(1, format="react")
    with pytest.raises(ConfigurationError, match="tasks: give at least one"):
        toolworld_environment([])
    with pytest.raises(ConfigurationError, match="environment_factory: must be the value of"):
        make_trainer(given=dict(environments))


def test_each_turn_has_the_advantage_of_its_own_call(batch: Batch, tokenizer: PreTrainedTokenizerFast) -> None:
    episodes = batch.episodes(tokenizer)
    assert {len(episode.spans) for episode in episodes} >= {2, 3}  # the model is not the oracle
    assert any(sum(rewards) == pytest.approx(1) for rewards in batch.rewards)
    ours = collate(episodes, int(tokenizer.pad_token_id))
    expected = broadcast_to_tokens(step_grpo(ours.reward, ours.step_count, ours.group, gamma=1.0), ours.step_index)
    advantages = batch.tensors["advantages"]
    assert advantages.shape == batch.mask.shape
    assert torch.equal(advantages[batch.mask], expected[ours.mask])
    assert not advantages[~batch.mask].any()
    assert len({round(float(each), 4) for row in advantages for each in row.unique()}) > 4
    assert int(batch.tensors["num_items_in_batch"]) == int(batch.mask.sum())


def test_what_is_written_after_the_end_is_not_trained(batch: Batch, tokenizer: PreTrainedTokenizerFast) -> None:
    solved = [row for row, rewards in enumerate(batch.rewards) if sum(rewards) == pytest.approx(1)]
    for row in solved:
        assert len(batch.spans(row)) == len(batch.rewards[row])
        written = tokenizer.decode(batch.tensors["completion_ids"][row][batch.mask[row]])
        assert written.endswith("</tool_call><|im_end|>")
        assert "Done." in tokenizer.decode(batch.tensors["completion_ids"][row])


def test_the_update_is_the_one_that_ours_makes(
    make_trainer: MakeTrainer, batch: Batch, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Same ids, same step rewards: TRL's loss with step advantages, and ours, have the same gradient."""
    trainer = make_trainer()
    trainer.current_gradient_accumulation_steps = TASKS  # as in its loop: the whole batch at once
    trainer.model.train()
    trainer.compute_loss(trainer.model, dict(batch.tensors)).backward()
    theirs = torch.cat([weight.grad.flatten() for weight in trainer.model.parameters()])
    trainer.model.zero_grad()
    policy, config = Policy(trainer.model, "none"), make_config({"algo": "step_grpo"}).algorithm
    ours = collate(batch.episodes(tokenizer), int(tokenizer.pad_token_id))
    ours.advantage, ours.returns = compute_advantages(ours, make_estimator(config), config)
    outputs = forward(policy, ours)
    ours.old_log_prob = outputs["log_prob"].detach()
    (ppo_loss(outputs, ours, config)["loss"] / ours.action_tokens).backward()
    own = torch.cat([weight.grad.flatten() for weight in trainer.model.parameters()])
    trainer.model.zero_grad()
    assert float(own.norm()) > 1e-3
    assert float((own - theirs).norm() / own.norm()) < 1e-3  # float32, another order of additions


def test_grpo_trainer_itself_trains_on_the_sum(make_trainer: MakeTrainer) -> None:
    stock = Batch(make_trainer(GRPOTrainer))
    assert stock.tensors["advantages"].shape == (TASKS * COPIES,)
    total = torch.tensor([float(sum(rewards)) for rewards in stock.rewards]).view(TASKS, COPIES)
    expected = (total - total.mean(1, keepdim=True)) / (total.std(1, keepdim=True) + 1e-4)
    assert torch.allclose(stock.tensors["advantages"].view(TASKS, COPIES), expected, atol=1e-4)


def test_three_steps_of_training(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(estimator=rloo, reward_funcs=episode_reward, given=_without_get_reward())
    before = [weight.clone() for weight in trainer.model.parameters()]
    torch.manual_seed(0)
    trainer.train()
    logs = [each for each in trainer.state.log_history if "loss" in each]
    assert len(logs) == 3
    assert all("rewards/episode_reward/mean" in each and each["grad_norm"] > 0 for each in logs)
    assert max(each["tools/call_frequency"] for each in logs) > 0.5
    assert any(not torch.equal(one, other) for one, other in zip(before, trainer.model.parameters(), strict=True))


def _without_get_reward() -> Environments:
    return toolworld_environment(TASKS, split=SPLIT, get_reward=False)


def test_turns_are_the_runs_of_written_tokens() -> None:
    mask = torch.tensor([[1, 1, 0, 0, 1, 0, 1, 1], [1, 0, 0, 0, 0, 0, 0, 0]])
    assert turns(mask).tolist() == [[0, 0, -1, -1, 1, -1, 2, 2], [0, -1, -1, -1, -1, -1, -1, -1]]
    assert rewards_of_turns([1.0, 2.0, 4.0], [0, 2, 2, 3]) == [3.0, 0, 4.0]  # two calls, none, one
