"""Checkpoints: a folder that is complete or absent, in the layout of Transformers and PEFT.

- `config.json`, `model.safetensors` (or PEFT's `adapter_config.json`, `adapter_model.safetensors`) and the tokenizer's
  files: the language model, as `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained` read it.
- `value_head.safetensors`: the trained weights of the value head and of its own trunk, where the policy has one.
- `optimizer.safetensors`, and a file for each other part of the run (ArCHer's critic, its replay buffer).
- `trainer_state.json`: counters (`progress`), settings, and a hash of every other file.

No file is a pickle. Every random number of training is derived from the run's seed and the iteration, so these files
suffice for an exact resumption, but of a run whose episodes are played ahead (`rollout.max_staleness`).
"""

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b, file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from agents.errors import CheckpointError
from agents.models import hub, weights
from agents.models.folders import first_named, new_folder, other_files, remove
from agents.models.policy import Policy
from agents.models.weights import full_tensor, replace_weights, shard_like
from agents.options import without_keys

_STATE, _OPTIMIZER, _VALUE_HEAD = "trainer_state.json", "optimizer.safetensors", "value_head.safetensors"
_NUMBERED = re.compile(r"checkpoint-\d+")
_WEIGHTS = ("model*.safetensors", "adapter_model.safetensors")
_SHIPPED = {"nano-sft": Path(__file__).parents[1] / "demo" / "checkpoints" / "nano-sft"}


@dataclass(frozen=True)
class Counters:
    """Counters of a run."""

    iteration: int = 0
    """Finished iterations."""
    calls: int = 0
    """Environment calls so far."""
    episodes: int = 0
    """Episodes so far."""
    dropped: int = 0
    """Episodes lost to an unreachable server so far."""
    stage: int = 0
    """Depths that the curriculum has added to the smallest."""


def resolve_checkpoint(name: str | Path) -> Path:
    """Return the folder of a checkpoint.

    Args:
        name: Folder of a checkpoint; folder of a run, whose newest checkpoint is taken and named on stderr; or the
            name of a checkpoint that comes with the package: `nano-sft`; or `hf://USER/NAME[@REVISION]`, of the hub.

    Raises:
        CheckpointError: There is no such checkpoint; the message names the path and the expected content.
    """
    if hub.is_hub_name(name):
        folder = hub.download(name)
        if not (folder / _STATE).exists():
            repo = str(name).split("@")[0].removeprefix("hf:").strip("/")
            raise CheckpointError(
                f"{name} is not a checkpoint of steptool-env; a model without {_STATE} is policy.model={repo}"
            )
        return folder
    folder = Path(name)
    if (folder / _STATE).exists():
        return folder
    found = newest(folder)
    if found is not None:
        sys.stderr.write(f"{folder}: taking its newest checkpoint, {found.name}\n")
        return found
    if str(name) in _SHIPPED and not folder.exists():
        return _SHIPPED[str(name)]
    problem = "is not a folder" if not folder.is_dir() else f"holds neither {_STATE} nor checkpoint-*/{_STATE}"
    remedy = "; a model without it is given as policy.model" if (folder / "config.json").exists() else ""
    raise CheckpointError(
        f"{folder} {problem}: give the folder of a checkpoint or of a run, or {', '.join(_SHIPPED)}{remedy}"
    )


def save(
    folder: Path,
    policy: Policy,
    tokenizer: PreTrainedTokenizerBase,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    counters: Counters | None = None,
    config: Mapping[str, Any] | None = None,
    extra: Mapping[str, Mapping[str, Tensor]] | None = None,
    reference: str = "",
    half: bool = False,
    total_limit: int = 0,
) -> None:
    """Write a checkpoint beside the target and move it there, so that a crash or a full disk leaves no partial one.

    Args:
        folder: Replaced when it exists. Files in it that are not of its checkpoint are moved to a folder beside it.
        policy: The policy.
        tokenizer: Its tokenizer.
        optimizer: The optimizer, for resumption.
        counters: Counters of the run.
        config: Settings of the run, as JSON values.
        extra: Tensors of other parts of the run, one file for each part.
        reference: Digest of the reference policy.
        half: Store float16 weights, to ship them.
        total_limit: Number of checkpoints to keep in the run's folder; older ones are removed, but for other files in
            their folders. 0 keeps all.

    Raises:
        CheckpointError: The files cannot be written; the earlier content of `folder` is still there.
    """
    with new_folder(folder, "checkpoint", _own_files) as partial:
        weights.save_model(partial, policy.language_model, tokenizer, half=half)
        if head := _value_head(policy):
            save_file(_stored(head), partial / _VALUE_HEAD)
        if optimizer is not None:
            save_file(optimizer_tensors(optimizer), partial / _OPTIMIZER)
        for part, tensors in (extra or {}).items():
            save_file(_stored(tensors), partial / f"{part}.safetensors")
        state = {
            "progress": asdict(counters or Counters()),
            "settings": dict(config or {}),
            "reference": reference,
            "base": _base_digest(partial),
            "hashes": {str(p.relative_to(partial)): _digest(p) for p in sorted(partial.rglob("*")) if p.is_file()},
        }
        text = json.dumps(state, indent=1, sort_keys=True, default=str)
        (partial / _STATE).write_text(text + "\n", encoding="utf-8")
    for path in checkpoints(folder.parent)[:-total_limit] if total_limit else ():
        if path.name != folder.name:  # a run that went on from an older checkpoint writes one before the newest
            remove(path, _own_files)


def check_place(folder: Path) -> None:
    """Check before a training that its checkpoint can be written, and takes the place of nothing but a checkpoint.

    Raises:
        CheckpointError: `folder` is a file, holds other files than a checkpoint, or cannot be made.
    """
    if others := other_files(folder, _own_files):
        raise CheckpointError(
            f"{folder} holds other files, which a checkpoint would replace{first_named(others)}; give another --out"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent):
            pass
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint {folder}: {error}; give another --out") from error


def _own_files(folder: Path) -> list[str]:
    """Return the files of a checkpoint. Its state is the first: without it, no checkpoint looks complete."""
    try:
        return [_STATE, *_state(folder)["hashes"]]
    except (CheckpointError, KeyError, TypeError):
        return []


def copy_for_use(folder: Path, target: Path) -> None:
    """Copy a checkpoint without the state of its run: no optimizer, and no place of this machine in its settings.

    Settings that are absolute paths are cut to their last part, addresses of servers are emptied.

    Raises:
        CheckpointError: The checkpoint is incomplete or damaged.
    """
    _verify(folder)
    state = _state(folder)
    kept = {
        name: digest
        for name, digest in state["hashes"].items()
        if not name.endswith(".safetensors")
        or name == _VALUE_HEAD
        or any(Path(name).match(pattern) for pattern in _WEIGHTS)
    }
    for name in kept:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target / name)
    settings = {**state, "settings": without_places(state["settings"]), "hashes": kept}
    (target / _STATE).write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")


_PLACE = re.compile(r"""(?<![\w.])(?:~|\.{1,2})?/[^\s,;'"]*""")
"""Path in a text that begins at the root, at home or at the working directory, as in `policy:/home/me/run`."""


def without_places(value: Any) -> Any:
    """Return settings without API keys, paths of a machine and addresses, see `copy_for_use`."""
    value = without_keys(value)
    if isinstance(value, Mapping):
        return {name: without_places(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(each) for each in value]
    if isinstance(value, str) and "://" in value:
        return value if hub.is_hub_name(value) else ""
    return _PLACE.sub(lambda match: Path(match[0]).name, value) if isinstance(value, str) else value


def load_language_model(folder: Path, dtype: torch.dtype) -> nn.Module:
    """Read a checkpoint's language model.

    Raises:
        CheckpointError: The checkpoint is incomplete or damaged, or the base model of its adapters is another one now.
    """
    _verify(folder)
    base = Path(weights.base_model(folder) or folder)
    if base != folder and (base / _STATE).exists():
        _verify(base)
    if _state(folder)["base"] != _base_digest(folder):
        raise CheckpointError(
            f"{folder}: {base}, the base model of its adapters, is missing or has other weights; restore it"
        )
    return weights.load_model(folder, dtype)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Read a checkpoint's tokenizer."""
    try:
        return cast(PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: the tokenizer cannot be loaded: {error}") from error


def load_weights(folder: Path, policy: Policy) -> None:
    """Read the weights of a checkpoint. Raises `CheckpointError` if it is incomplete, damaged or of another model."""
    replace_weights(folder, policy.language_model, load_language_model(folder, policy.dtype).state_dict())
    load_value_head(folder, policy)


def load_value_head(folder: Path, policy: Policy) -> None:
    """Read a checkpoint's value head into a policy that has one.

    Weights that the checkpoint lacks stay as they are; a trunk that it lacks starts as the decoder.
    """
    if policy.critic is not None:
        policy.critic.load_state_dict(policy.decoder.state_dict())
    own = _value_head(policy)
    if own and (folder / _VALUE_HEAD).exists():
        found = load_file(folder / _VALUE_HEAD)
        policy.load_state_dict({name: tensor for name, tensor in found.items() if name in own}, strict=False)


def load_optimizer(folder: Path, optimizer: torch.optim.Optimizer) -> None:
    """Read a checkpoint's optimizer state. Raises `CheckpointError` when it has none, or one of another model."""
    if not (folder / _OPTIMIZER).exists():
        raise CheckpointError(f"{folder} holds no optimizer state: it is for use, not for resumption")
    fill_optimizer(folder, optimizer, load_file(folder / _OPTIMIZER))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of an optimizer by name: index of the parameter, dot, field. With sharded weights, a collective."""
    state: Mapping[int, Mapping[str, Any]] = optimizer.state_dict()["state"]
    return _stored({f"{index}.{name}": value for index, entries in state.items() for name, value in entries.items()})


def fill_optimizer(folder: Path, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load tensors of `optimizer_tensors` into an optimizer; errors name `folder`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not all(_fits(entries, parameters[index : index + 1]) for index, entries in state.items()):
        raise CheckpointError(f"{folder}: the optimizer state is of another model, or of one with another critic")
    for index, entries in state.items():
        state[index] = {n: t if n == "step" else shard_like(t, parameters[index]) for n, t in entries.items()}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def load_tensors(folder: Path, part: str) -> dict[str, Tensor]:
    """Read the tensors of `save(extra={part: ...})`. Raises `CheckpointError` if the file is missing."""
    path = folder / f"{part}.safetensors"
    if not path.exists():
        raise CheckpointError(f"{folder} has no {path.name}: it is of a run with another algorithm")
    return load_file(path)


def load_counters(folder: Path) -> Counters:
    """Counters of the run."""
    return Counters(**_state(folder)["progress"])


def load_config(folder: Path) -> dict[str, Any]:
    """Settings of the run, as JSON values; empty where `save` was given none."""
    return dict(_state(folder)["settings"])


def load_reference(folder: Path) -> str:
    """Digest of the reference policy; empty where the run has none."""
    return str(_state(folder)["reference"])


def load_digest(folder: Path) -> str:
    """Hash of the language model's files: equal for checkpoints of equal weights, wherever they are."""
    state = _state(folder)
    files = [entry for entry in sorted(state["hashes"].items()) if any(Path(entry[0]).match(p) for p in _WEIGHTS)]
    return blake2b(json.dumps([state["base"], files]).encode(), digest_size=16).hexdigest()


def weights_digest(policy: Policy) -> str:
    """Hash of a policy's weights in memory."""
    hashed = blake2b(digest_size=16)
    for name, tensor in sorted(policy.state_dict().items()):
        hashed.update(name.encode())
        hashed.update(memoryview(tensor.detach().cpu().flatten().view(torch.uint8).numpy()))
    return hashed.hexdigest()


def newest(folder: Path) -> Path | None:
    """The newest complete checkpoint of a run, or `None`."""
    found = checkpoints(folder)
    return found[-1] if found else None


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first; `checkpoint-best` and the like are copies of the user."""
    found = {path: _NUMBERED.fullmatch(path.name) for path in folder.glob("checkpoint-*") if (path / _STATE).exists()}
    return sorted((path for path, match in found.items() if match), key=lambda path: int(path.name.split("-")[1]))


def _value_head(policy: Policy) -> dict[str, Tensor]:
    """Trained weights of the value head and of its own trunk."""
    parts = ("critic.", "value_head.")
    return {name: p for name, p in policy.named_parameters() if name.startswith(parts) and p.requires_grad}


def _base_digest(folder: Path) -> str:
    """Digest of the base model of a checkpoint's adapters, where that is a checkpoint too; else empty."""
    base = weights.base_model(folder)
    return load_digest(Path(base)) if base and (Path(base) / _STATE).exists() else ""


def _stored(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU without aliases, which safetensors refuses."""
    full = ((name, full_tensor(torch.as_tensor(tensor))) for name, tensor in tensors.items())
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in full}


def _fits(entries: Mapping[str, Tensor], parameter: Sequence[Tensor]) -> bool:
    """Return whether running averages have the shape of this parameter."""
    return all([t.shape for t in parameter] == [average.shape] for name, average in entries.items() if name != "step")


def _verify(folder: Path) -> None:
    hashes = _state(folder)["hashes"]
    if not any(Path(name).match(pattern) for name in hashes for pattern in _WEIGHTS):
        raise CheckpointError(f"{folder} is incomplete: {_STATE} lists no weights")
    for name, digest in hashes.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise CheckpointError(f"{folder}: {_STATE} names {name!r}, a file outside of the checkpoint")
        if not path.is_file():
            raise CheckpointError(f"{folder} is incomplete: {name} is missing")
        if _digest(path) != digest:
            raise CheckpointError(f"{path} is damaged: its content is not that which was written")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()


def _state(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / _STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} is not a complete checkpoint: {_STATE}: {error}") from error
