"""Language models as folders: Transformers' layout, and PEFT's for adapters."""

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from transformers.utils import logging

from agents.errors import CheckpointError
from agents.models.decoder import without_peft_warning
from agents.models.folders import new_folder
from agents.models.policy import Policy


def save_model(folder: Path, model: nn.Module, tokenizer: PreTrainedTokenizerBase, *, half: bool = False) -> None:
    """Write a model and its tokenizer as `from_pretrained` reads them; of a PEFT model the adapters alone.

    `half` writes float16 weights; `config.json` keeps the dtype of the model.
    """
    options: dict[str, Any] = {"state_dict": _half(model)} if half else {}
    if hasattr(model, "peft_config"):
        options["save_embedding_layers"] = False
    with _no_progress_bar():
        cast(Any, model).save_pretrained(str(folder), **options)
    try:
        tokenizer.save_pretrained(str(folder))
    except Exception as error:  # a fast tokenizer raises nothing more specific when it cannot write
        raise OSError(str(error)) from error


def load_model(folder: Path, dtype: torch.dtype) -> nn.Module:
    """Read a model that `save_model` wrote; adapters are put on their base model and are trainable.

    Raises:
        CheckpointError: The model, or the base model of the adapters, cannot be loaded.
    """
    base = base_model(folder)
    try:
        with _no_progress_bar():
            source = base or str(folder.resolve())  # absolute: adapters record it as their base
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype, use_safetensors=True, trust_remote_code=False
            )
            if not base:
                return cast(nn.Module, model)
            from peft import PeftModel

            with without_peft_warning():
                adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=True, torch_device="cpu")
            return cast(nn.Module, adapted)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        source = f"{folder}, whose adapters belong to the base model {base}" if base else str(folder)
        raise CheckpointError(f"{source}: the model cannot be loaded: {error}") from error


def base_model(folder: Path) -> str:
    """Folder or hub name of the base model of a folder's adapters; empty for a model without adapters."""
    path = folder / "adapter_config.json"
    return str(json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"]) if path.exists() else ""


def write_merged(folder: Path, policy: Policy, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write the language model, adapters merged into its weights, with its tokenizer; `folder` is complete or absent.

    Raises:
        CheckpointError: The files cannot be written.
    """
    with new_folder(folder, "model") as partial:
        save_model(partial, merged(policy.language_model), tokenizer)


def merged(model: nn.Module) -> nn.Module:
    """Return a copy of a model with its adapters merged into its weights; the model itself if it has none."""
    if not hasattr(model, "merge_and_unload"):
        return model
    return cast(nn.Module, cast(Any, copy.deepcopy(model)).merge_and_unload())


@torch.no_grad()
def read_merged(folder: Path, policy: Policy) -> None:
    """Replace the weights by those of `write_merged`. Raises as `load_model` and `replace_weights`."""
    replace_weights(folder, policy.language_model, load_model(folder, policy.dtype).state_dict())


def replace_weights(folder: Path, model: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Replace the weights of a model by those that were found in `folder`.

    Raises:
        CheckpointError: They are those of another model; the weights are unchanged.
    """
    own = model.state_dict()  # `load_state_dict` raises after it has copied the weights that fit
    shapes = {
        name: [list(each[name].shape) if name in each else "nothing" for each in (own, found)]
        for name in {**own, **found}
    }
    wrong = [name for name, (wanted, present) in shapes.items() if wanted != present]
    if wrong:
        wanted, present = shapes[wrong[0]]
        raise CheckpointError(
            f"{folder} is of another model: {wrong[0]} should be {wanted}, the checkpoint has {present} "
            f"({len(wrong)} of {len(shapes)} tensors differ)"
        )
    model.load_state_dict(found)


def full_tensor(tensor: Tensor) -> Tensor:
    """Return the full tensor of a possibly sharded one. A collective for sharded tensors."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, other: Tensor) -> Tensor:
    """Shard a full tensor as another one is sharded."""
    if not isinstance(other, DTensor):
        return tensor
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)


def _half(model: nn.Module) -> dict[str, Tensor]:
    """The floating-point weights in float16; of tied weights the first name alone."""
    first: dict[int, str] = {}
    tensors = model.state_dict()
    for name, tensor in tensors.items():
        first.setdefault(tensor.data_ptr(), name)
    kept = {name: tensors[name] for name in first.values()}
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in kept.items()}


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Turn off Transformers' progress bars, which would be shown in every iteration."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
