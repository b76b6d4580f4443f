"""verl's own agent loop worker plays ToolWorld with a scripted model server, and computes advantages of turns."""

import asyncio
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl", reason="needs verl: pip install 'steptool-env[verl]'")

import datasets
import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # engines for GPUs are not installed
    import verl
    from verl import DataProto
    from verl.experimental.agent_loop.agent_loop import AgentLoopWorker, DictConfigWrap
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
    from verl.trainer.ppo.ray_trainer import compute_advantage
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
    from verl.workers.rollout.replica import TokenOutput

from agents.integrations.verl import ESTIMATOR, NAME, StepToolAgentLoop, StepToolRewardManager, dataset_rows
from agents.training.advantages import step_grpo
from agents.training.batch import pad_rows
from steptool_env.errors import ConfigurationError, ToolTransportError
from tests.integrations.oracle import play as play_in_gymnasium
from tests.server_stub import QuietHandler, running

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
torch.set_num_threads(1)
SPLIT, TASKS, LENGTH = "depth-2", 2, 1024
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{{ messages[0].content }}\n<tools>\n"
    "{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}</tools><|im_end|>\n{% endif %}"
    "{% for message in messages %}{% if message.role == 'tool' %}<|im_start|>user\n<tool_response>\n"
    "{{ message.content }}\n</tool_response><|im_end|>\n"
    "{% elif not (tools and message.role == 'system' and loop.first) %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def played(index: int, *first: str) -> list[tuple[str, Any]]:
    """The texts `first` and then the oracle's for a task, and what Gymnasium answers to each."""
    return play_in_gymnasium(index, first=first, format="hermes")[1]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return dataset_rows(TASKS, split=SPLIT)


@pytest.fixture(scope="module")
def config(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """verl's own configuration, with a folder of a tiny model's tokenizer and the agent loop of this package."""
    folder = tmp_path_factory.mktemp("verl")
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    special, alphabet = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], pre_tokenizers.ByteLevel.alphabet()
    train = trainers.BpeTrainer(vocab_size=1000, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    found.train_from_iterator([json.dumps(row["prompt"]) for row in rows], train)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=found, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder / "model")
    Qwen3Config(vocab_size=len(tokenizer), architectures=["Qwen3ForCausalLM"]).save_pretrained(folder / "model")
    loop = {"name": NAME, "_target_": "agents.integrations.verl.StepToolAgentLoop", "env_args": {"split": SPLIT}}
    (folder / "loop.yaml").write_text(json.dumps([loop]))
    overrides = [
        f"actor_rollout_ref.model.path={folder / 'model'}",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.rollout.prompt_length=2048",
        f"actor_rollout_ref.rollout.response_length={LENGTH}",
        "actor_rollout_ref.rollout.calculate_log_probs=true",
        f"actor_rollout_ref.rollout.agent.agent_loop_config_path={folder / 'loop.yaml'}",
        f"reward.reward_manager.name={NAME}",
        f"algorithm.adv_estimator={ESTIMATOR}",
    ]
    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        return compose("ppo_trainer", overrides=overrides)


class Script:
    """Model server that writes given texts, one a turn, to the prompts of the tasks."""

    def __init__(self, rows: list[dict[str, Any]], texts: list[list[str]]) -> None:
        self.tokenizer: Any = None
        self.prompts: list[str] = []
        self._texts = {row["prompt"][-1]["content"]: each for row, each in zip(rows, texts, strict=True)}

    async def generate(self, request_id: str, *, prompt_ids: list[int], **_: Any) -> TokenOutput:
        prompt = self.tokenizer.decode(prompt_ids)
        self.prompts.append(prompt)
        (texts,) = (each for query, each in self._texts.items() if query in prompt)
        text = texts[prompt.count("<|im_start|>assistant\n") - 1]
        ids = self.tokenizer(f"{text}<|im_end|>", add_special_tokens=False)["input_ids"]
        return TokenOutput(token_ids=ids, log_probs=[-0.5] * len(ids), extra_fields={"max_global_steps": 1})


class Handle:
    """verl's reward loop worker in this process, called as its actor is."""

    def __init__(self, worker: RewardLoopWorker) -> None:
        self.compute_score = self
        self._worker = worker

    async def remote(self, data: DataProto) -> dict[str, Any]:
        return dict(await self._worker.compute_score(data))


def play(config: Any, rows: list[dict[str, Any]], script: Script) -> DataProto:
    async def run() -> DataProto:
        worker = AgentLoopWorker(config, script, reward_loop_worker_handles=[Handle(RewardLoopWorker(config))])
        script.tokenizer = worker.tokenizer
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(datasets.config, "HF_DATASETS_CACHE", Path(folder))
            pd.DataFrame(rows).to_parquet(f"{folder}/rows.parquet")
            dataset = RLHFDataset(f"{folder}/rows.parquet", worker.tokenizer, config.data)
            read = collate_fn([dataset[index] for index in range(len(rows))])
        return await worker.generate_sequences(DataProto.from_single_dict(read))

    return asyncio.run(run())


@pytest.fixture(scope="module")
def episodes() -> list[list[tuple[str, Any]]]:
    return [played(0, "no call"), played(1)]


@pytest.fixture(scope="module")
def batch(config: Any, rows: list[dict[str, Any]], episodes: list[list[tuple[str, Any]]]) -> tuple[DataProto, Script]:
    script = Script(rows, [[text for text, _ in transitions] for transitions in episodes])
    return play(config, rows, script), script


def runs(mask: torch.Tensor) -> list[tuple[int, int]]:
    """Half-open ranges of ones."""
    edges = torch.diff(mask.int(), prepend=torch.zeros(1), append=torch.zeros(1)).tolist()
    begins, ends = ([at for at, edge in enumerate(edges) if edge == sign] for sign in (1, -1))
    return list(zip(begins, ends, strict=True))


def test_verl_plays_as_gymnasium_does(
    batch: tuple[DataProto, Script], episodes: list[list[tuple[str, Any]]], rows: list[dict[str, Any]]
) -> None:
    output, script = batch
    tokenizer = script.tokenizer
    for row, transitions in enumerate(episodes):
        responses, mask = output.batch["responses"][row], output.batch["response_mask"][row]
        spans = runs(mask)
        written = [tokenizer.decode(responses[begin:end]) for begin, end in spans]
        assert written == [f"{text}<|im_end|>" for text, _ in transitions]
        whole = tokenizer.decode(responses)
        assert all(step.observation in whole for _, step in transitions[:-1])
        columns = output.non_tensor_batch
        assert columns["step_rewards"][row] == list(transitions[-1][1].info["step_rewards"])
        assert columns["step_ends"][row] == [end - 1 for _, end in spans]
        assert columns["acc"][row] == 1
        assert columns["calls"][row] == len(transitions)
        assert output.batch["rollout_log_probs"][row][mask.bool()].unique().tolist() == [-0.5]
    total = output.batch["rm_scores"].sum(1).tolist()
    assert total == pytest.approx([sum(each[-1][1].info["step_rewards"]) for each in episodes])
    assert all('"name": "Finish"' in prompt for prompt in script.prompts)
    assert all(any(row["prompt"][-1]["content"] in prompt for prompt in script.prompts) for row in rows)


class Aborting(Script):
    """Model server that is interrupted in the second text of a task, as for new weights, and returns what it has."""

    reason = ""
    tokens: int | None = None

    async def generate(self, request_id: str, *, prompt_ids: list[int], **options: Any) -> TokenOutput:
        output = await super().generate(request_id, prompt_ids=prompt_ids, **options)
        if len(self.prompts) < 2:
            return output
        ids, scores = output.token_ids[: self.tokens], output.log_probs[: self.tokens]
        return TokenOutput(token_ids=ids, log_probs=scores, stop_reason=self.reason, extra_fields=output.extra_fields)


def output_of(
    config: Any, row: dict[str, Any], texts: list[str], make_script: type[Script] = Script, **env_args: Any
) -> Any:
    """Output of the agent loop itself, as verl's trainer gets it."""

    async def run() -> Any:
        script = make_script([row], [texts])
        script.tokenizer = PreTrainedTokenizerFast.from_pretrained(config.actor_rollout_ref.model.path)
        loop = StepToolAgentLoop(
            trainer_config=DictConfigWrap(config),
            server_manager=script,
            tokenizer=script.tokenizer,
            processor=None,
            dataset_cls=RLHFDataset,
            data_config=DictConfigWrap(config.data),
            hf_model_type="qwen3",
            env_args={"split": SPLIT, **env_args},
        )
        return await loop.run({}, task=row["task"], raw_prompt=row["prompt"])

    return asyncio.run(run())


def test_the_output_has_the_reward_of_each_step_at_its_turn(config: Any, rows: list[dict[str, Any]]) -> None:
    """verl's trainer reads `rm_scores` of `as_dict`, once the reward manager has scored the rollout."""
    transitions = played(0, "no call")
    output = output_of(config, rows[0], [text for text, _ in transitions])
    assert "rm_scores" not in output.as_dict()
    rewards = list(transitions[-1][1].info["step_rewards"])
    output.reward_score = sum(rewards)
    fields = output.as_dict()
    ends = [end - 1 for _, end in runs(fields["response_mask"])]
    assert fields["rm_scores"][ends].tolist() == pytest.approx(rewards)
    assert float(fields["rm_scores"].sum()) == pytest.approx(sum(rewards))


def test_an_answer_that_does_not_fit_is_left_out(config: Any, rows: list[dict[str, Any]]) -> None:
    text = played(0)[0][0]
    whole = output_of(config, rows[0], [text, "word " * LENGTH])
    short = config.copy()
    short.actor_rollout_ref.rollout.response_length = whole.extra_fields["step_ends"][0] + 3
    output = output_of(short, rows[0], [text])
    assert output.extra_fields["step_rewards"] == [0.25]
    assert output.response_mask == [1] * (whole.extra_fields["step_ends"][0] + 1)
    fields = output.as_dict()
    assert len(fields["responses"]) == len(fields["response_mask"]) == len(fields["rollout_log_probs"])


def test_a_format_that_is_not_the_models_own_is_refused(config: Any, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigurationError, match="format='react'"):
        output_of(config, rows[0], [], format="react")
    with pytest.raises(ConfigurationError, match="format='react'"):
        dataset_rows(1, format="react")


def test_the_estimator_is_ours_over_turns(batch: tuple[DataProto, Script], config: Any) -> None:
    output, _ = batch
    data = output.select(deepcopy=True)
    rewards = StepToolRewardManager.assemble_rm_scores(data, [0.0] * TASKS)
    assert torch.equal(rewards.sum(1), output.batch["rm_scores"].sum(1))
    data.batch["token_level_rewards"] = rewards
    data.non_tensor_batch["uid"] = np.array(["a", "a"], dtype=object)
    config.algorithm.gamma = 0.9
    advantages = compute_advantage(data, config.algorithm.adv_estimator, config=config.algorithm).batch["advantages"]
    steps = output.non_tensor_batch["step_rewards"]
    reward = pad_rows([list(each) for each in steps], 0.0, torch.float32)
    counts = torch.tensor([len(each) for each in steps])
    expected = step_grpo(reward, counts, torch.zeros(TASKS, dtype=torch.long), gamma=0.9)
    for row in range(TASKS):
        mask = output.batch["response_mask"][row]
        for turn, (begin, end) in enumerate(runs(mask)):
            assert advantages[row, begin:end].tolist() == pytest.approx([float(expected[row, turn])] * (end - begin))
        assert not advantages[row][~mask.bool()].any()
    assert len(expected.unique()) > 3


def test_a_turn_that_is_cut_reaches_no_tool(config: Any, rows: list[dict[str, Any]]) -> None:
    first = played(0)[0][0]
    output = play(config, rows, Script(rows, [[first, "word " * LENGTH], ["word " * LENGTH]]))
    assert [list(each) for each in output.non_tensor_batch["step_rewards"]] == [[0.25], []]
    assert output.batch["rm_scores"].sum(1).tolist() == [0.25, 0]
    assert output.batch["responses"].shape == (TASKS, LENGTH)


@pytest.mark.parametrize("reason", ["aborted", "abort"])  # of vLLM and TensorRT-LLM; of SGLang
@pytest.mark.parametrize("tokens", [None, 9, 0])
def test_an_aborted_generation_reaches_no_tool(
    reason: str, tokens: int | None, config: Any, rows: list[dict[str, Any]]
) -> None:
    """Also where the text so far is a whole call: the model had not ended it."""
    texts = [text for text, _ in played(0)]
    whole = output_of(config, rows[0], texts)
    script = type("Interrupted", (Aborting,), {"reason": reason, "tokens": tokens})
    output = output_of(config, rows[0], texts, script)
    rewards, ends = whole.extra_fields["step_rewards"], whole.extra_fields["step_ends"]
    assert len(rewards) > 2
    assert output.extra_fields["step_rewards"] == [0.25]
    assert output.extra_fields["step_ends"] == ends[:1]
    assert output.extra_fields["is_solved"] == 0
    begin, end = runs(torch.tensor(whole.response_mask))[1]
    kept = end if tokens is None else begin + tokens
    assert output.response_ids == whole.response_ids[:kept]
    assert output.response_mask == whole.response_mask[:kept]
    assert len(output.response_logprobs) == kept
    output.reward_score = sum(output.extra_fields["step_rewards"])
    assert float(output.as_dict()["rm_scores"].sum()) == 0.25


def test_unreachable_tools_are_no_rewards(config: Any, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    with running(QuietHandler) as server:
        args = {"split": SPLIT, "server_url": f"http://127.0.0.1:{server.server_port}"}
        loop = {"name": NAME, "_target_": "agents.integrations.verl.StepToolAgentLoop", "env_args": args}
        (tmp_path / "loop.yaml").write_text(json.dumps([loop]))
        away = config.copy()
        away.actor_rollout_ref.rollout.agent.agent_loop_config_path = str(tmp_path / "loop.yaml")
        with pytest.raises(ToolTransportError):
            play(away, rows[:1], Script(rows[:1], [[played(0)[0][0]]]))


def test_verl_finds_the_names_as_a_plugin() -> None:
    code = (
        "import verl; from verl.trainer.ppo.core_algos import get_adv_estimator_fn; "
        f"from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls; "
        f"print(get_adv_estimator_fn('{ESTIMATOR}').__module__, get_reward_manager_cls('{NAME}').__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["agents.integrations.verl"] * 2, done.stderr
