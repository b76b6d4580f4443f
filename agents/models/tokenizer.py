"""Tokenizer of policies from scratch: byte-level BPE, trained on the text of demonstrations."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD = "<|pad|>"
ACT = "<|act|>"
END = "<|end|>"

# A capitalized word is split from the space before it: a name has the same tokens after a space in the query as
# after a quotation mark in the arguments, so that a small model can copy it. Other words include the space, which
# shortens prompts.
_WORDS = Regex(r"[ ]?_?\p{Ll}+|_?\p{Lu}+\p{Ll}*|\p{L}+|\d{1,3}|[ ]?[^\w\s]+|\s+|.")


def train_tokenizer(texts: Iterable[str], vocab_size: int = 2048) -> PreTrainedTokenizerFast:
    """Train the tokenizer.

    Args:
        texts: Prompts, actions and observations.
        vocab_size: Maximum number of tokens, the 256 bytes and the 3 special tokens included.

    Returns:
        A tokenizer with `pad_token`, `eos_token` (the end of an action) and `<|act|>` (its start). It encodes every
        text without loss.

    Raises:
        ValueError: `vocab_size` is too small to hold every byte.
    """
    if vocab_size < 256 + 3:
        raise ValueError(f"vocab_size must be at least 259 (256 bytes and 3 special tokens), not {vocab_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_WORDS, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, ACT, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=[ACT],
        clean_up_tokenization_spaces=False,
    )
