"""A pretrained chat model, made on the spot: a folder as `AutoModelForCausalLM` reads it."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from tests.agents.bandit import llama

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = ["You can call functions. Answer with an action and its input.", '{"name": "find_city", "arguments": {}}'] * 4


def chat_tokenizer(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """Byte-level, with tokens for a chat's turns, and none for padding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", extra_special_tokens=["<|im_start|>"]
    )
    made.chat_template = template
    return made


def llama_folder(folder: Path, template: str | None = CHATML) -> Path:
    """A Llama of two layers."""
    tokenizer = chat_tokenizer(template)
    tokens = {"pad_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    model = llama(vocab=len(tokenizer), max_position_embeddings=4096, initializer_range=0.02, **tokens)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(str(folder))
    return folder


def gpt2_folder(folder: Path) -> Path:
    """A GPT-2 of two layers, which has dropout."""
    tokenizer = chat_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=512, n_embd=16, n_layer=2, n_head=2, bos_token_id=None, eos_token_id=1
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(str(folder))
    return folder
