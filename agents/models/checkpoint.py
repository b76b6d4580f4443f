"""Checkpoints: a folder that is complete or absent.

`model.safetensors` (the policy), `optimizer.safetensors`, `tokenizer/`, `config.json` (the run's configuration),
`architecture.json` (the model's), `adapters.json` (where it has any), `state.json` (counters, hashes), and a file for
each other part that a run may have (ArCHer's critic, its replayed steps). No pickle. Everything random in training is
derived from the run's seed and the iteration, so these are all that an exact resumption needs.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from agents.distributed.sharding import alike, entire
from agents.errors import CheckpointError
from agents.models.policy import Policy

_MODEL, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_ADAPTERS = "adapters.json"


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    iteration: int = 0
    """Finished iterations."""
    calls: int = 0
    """Environment calls so far."""
    episodes: int = 0
    """Episodes so far."""
    dropped: int = 0
    """Episodes lost to an unreachable server so far."""


def save(
    folder: Path,
    policy: Policy,
    tokenizer: PreTrainedTokenizerBase,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    progress: Progress | None = None,
    config: Mapping[str, Any] | None = None,
    extra: Mapping[str, Mapping[str, Tensor]] | None = None,
    reference: str = "",
    half: bool = False,
) -> None:
    """Write a checkpoint, beside the target first, so that a crash or a full disk leaves no half of one.

    Args:
        folder: Replaced when it exists.
        policy: The weights.
        tokenizer: Kept with them.
        optimizer: Its state, for resumption.
        progress: How far the run is.
        config: The run's configuration, as JSON values.
        extra: Tensors of other parts of the run, one file for each part.
        reference: Digest of the policy that the run stays close to.
        half: Store weights in half precision, to ship them.

    Raises:
        CheckpointError: The files cannot be written; what was at `folder` is still there.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_tensors(policy, half), partial / _MODEL)
        if optimizer is not None:
            save_file(optimizer_tensors(optimizer), partial / _OPTIMIZER)
        for part, tensors in (extra or {}).items():
            save_file(_stored(tensors), partial / f"{part}.safetensors")
        _save_tokenizer(tokenizer, partial / "tokenizer")
        _write_json(partial / "config.json", dict(config or {}))
        _write_json(partial / "architecture.json", _architecture(policy))
        if policy.lora_rank:
            _write_json(partial / _ADAPTERS, {"rank": policy.lora_rank})
        hashes = {p.name: _digest(p) for p in sorted(partial.glob("*.safetensors"))}
        state = {"progress": asdict(progress or Progress()), "hashes": hashes, "reference": reference}
        _write_json(partial / _STATE, state)
        _replace(partial, folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"cannot write the checkpoint {folder}: {error}") from error


def load_weights(folder: Path, policy: Policy) -> None:
    """Read a checkpoint's weights into a policy of the same shape.

    A checkpoint without a critic fills a policy that has one: the critic's trunk starts as the decoder.

    Raises:
        CheckpointError: It is incomplete, damaged, or of another model.
    """
    _verify(folder)
    tensors = load_file(folder / _MODEL)
    own = policy.state_dict()
    shared = [name for name in own if not name.startswith(("critic.", "value_head."))]
    wrong = [name for name in shared if name not in tensors or tensors[name].shape != own[name].shape]
    if wrong:
        name = wrong[0]
        found = list(tensors[name].shape) if name in tensors else "nothing"
        raise CheckpointError(
            f"{folder} is of another model: {name} should be {list(own[name].shape)}, the checkpoint has {found} "
            f"({len(wrong)} of {len(shared)} tensors differ)"
        )
    fill = {name: tensors.get(name, own[name]) for name in own}
    policy.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in fill.items()})
    if policy.critic is not None and not any(name.startswith("critic.") for name in tensors):
        policy.critic.load_state_dict(policy.decoder.state_dict())


def load_optimizer(folder: Path, optimizer: torch.optim.Optimizer) -> None:
    """Read a checkpoint's optimiser state. Raises `CheckpointError` when it has none, or of another model."""
    if not (folder / _OPTIMIZER).exists():
        raise CheckpointError(f"{folder} holds no optimiser state: it is for use, not for resumption")
    fill_optimizer(folder, optimizer, load_file(folder / _OPTIMIZER))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser by name: number of the weight, dot, field.

    Where processes hold parts of it, every one has to ask.
    """
    state: Mapping[int, Mapping[str, Any]] = optimizer.state_dict()["state"]
    return _stored({f"{index}.{name}": value for index, entries in state.items() for name, value in entries.items()})


def fill_optimizer(folder: Path, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser what `optimizer_tensors` gave; `folder` is named when it is of another model."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not all(_fits(entries, parameters[index : index + 1]) for index, entries in state.items()):
        raise CheckpointError(f"{folder}: the optimiser state is of another model, or of one with another critic")
    for index, entries in state.items():
        state[index] = {n: t if n == "step" else alike(t, parameters[index]) for n, t in entries.items()}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def load_tensors(folder: Path, part: str) -> dict[str, Tensor]:
    """The tensors that `save` was given as `extra[part]`. Raises `CheckpointError` when there are none."""
    path = folder / f"{part}.safetensors"
    if not path.exists():
        raise CheckpointError(f"{folder} has no {path.name}: it is of a run with another algorithm")
    return load_file(path)


def load_progress(folder: Path) -> Progress:
    """How far the run was."""
    return Progress(**_read_json(folder / _STATE)["progress"])


def load_config(folder: Path) -> dict[str, Any]:
    """The configuration of the run, as JSON values; empty where `save` was given none."""
    return _read_json(folder / "config.json")


def load_reference(folder: Path) -> str:
    """The digest of the policy that the run stays close to; empty where there is none."""
    return str(_read_json(folder / _STATE).get("reference", ""))


def weights_digest(policy: Policy) -> str:
    """A hash of a policy's weights in memory."""
    hashed = blake2b(digest_size=16)
    for name, tensor in sorted(policy.state_dict().items()):
        hashed.update(name.encode())
        hashed.update(memoryview(tensor.detach().cpu().flatten().view(torch.uint8).numpy()))
    return hashed.hexdigest()


def load_digest(folder: Path) -> str:
    """A hash of the weights: checkpoints of equal weights have the same, wherever they are."""
    return str(_read_json(folder / _STATE)["hashes"][_MODEL])


def load_architecture(folder: Path) -> dict[str, Any]:
    """The Transformers configuration of the model, as JSON values."""
    return _read_json(folder / "architecture.json")


def load_lora_rank(folder: Path) -> int:
    """The rank of the model's adapters, 0 when it has none."""
    return int(_read_json(folder / _ADAPTERS)["rank"]) if (folder / _ADAPTERS).exists() else 0


def newest(folder: Path) -> Path | None:
    """The newest complete checkpoint of a run, `None` when there is none."""
    found = [path for path in folder.glob("checkpoint-*") if (path / _STATE).exists()]
    return max(found, key=lambda path: int(path.name.split("-")[1]), default=None)


def _tensors(policy: Policy, half: bool) -> dict[str, Tensor]:
    """Weights by name; tied ones once per name, since safetensors keeps no aliases."""
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in policy.state_dict().items()}
    return {name: t.half() if half and t.is_floating_point() else t for name, t in tensors.items()}


def _stored(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """Copies that a file can hold: safetensors keeps no aliases."""
    whole = ((name, entire(torch.as_tensor(tensor))) for name, tensor in tensors.items())
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in whole}


def _fits(entries: Mapping[str, Tensor], parameter: Sequence[Tensor]) -> bool:
    """Whether running averages are of this parameter, where there is one."""
    return all([t.shape for t in parameter] == [average.shape] for name, average in entries.items() if name != "step")


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    try:
        tokenizer.save_pretrained(str(folder))
    except Exception as error:  # a fast tokenizer raises nothing more special when it cannot write
        raise OSError(str(error)) from error


def _architecture(policy: Policy) -> dict[str, Any]:
    return dict(policy.config.to_dict())


def _verify(folder: Path) -> None:
    for name, digest in _read_json(folder / _STATE)["hashes"].items():
        path = folder / name
        if not path.exists():
            raise CheckpointError(f"{folder} is incomplete: {name} is missing")
        if _digest(path) != digest:
            raise CheckpointError(f"{path} is damaged: its content is not what was written")


def _digest(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.parent} is no complete checkpoint: {path.name}: {error}") from error


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")


def _replace(partial: Path, folder: Path) -> None:
    """Move the finished folder to its place, its bytes on the disk first."""
    for path in partial.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
