"""A policy's language model as a folder that other software can load, and back."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from transformers.utils import logging

from agents.errors import CheckpointError
from agents.models.policy import Policy


def write_model(folder: Path, policy: Policy, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write the language model with its tokenizer in Transformers' layout; `folder` is complete or absent.

    Low-rank adapters are merged into the weights. The critic is left out.

    Raises:
        CheckpointError: The files cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with _quiet():
            cast(Any, _merged(policy.language_model)).save_pretrained(str(partial))
        tokenizer.save_pretrained(str(partial))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"cannot write the model {folder}: {error}") from error


@torch.no_grad()
def read_model(folder: Path, policy: Policy) -> None:
    """Take over the weights of a model that `write_model` wrote.

    Raises:
        CheckpointError: There is none, or it is of another shape.
    """
    try:
        with _quiet():
            model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=policy.dtype, local_files_only=True)
        policy.language_model.load_state_dict(model.state_dict())
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: the weights cannot be taken over: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Transformers' progress bars, which would come in every iteration."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _merged(model: nn.Module) -> nn.Module:
    """The model without adapters: as it is, or a copy with their products added to its weights."""
    if not hasattr(model, "merge_and_unload"):
        return model
    return cast(nn.Module, cast(Any, copy.deepcopy(model)).merge_and_unload())
