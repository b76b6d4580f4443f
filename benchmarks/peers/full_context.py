"""Sampling without a cache that persists between steps: `model.generate` on the whole episode at every step."""

from collections.abc import Sequence

import torch

from agents.models.bundle import PolicyBundle
from agents.rollout.config import Sampling
from agents.rollout.sampler import TokenSampler
from agents.rollout.types import Sampled


class FullContextSampler(TokenSampler):
    """`TokenSampler` that keeps only the tokens of the episodes."""

    def __init__(self, bundle: PolicyBundle, sampling: Sampling) -> None:
        super().__init__(bundle.policy, context=bundle.context, stop_id=bundle.codec.stop_id, sampling=sampling)
        self._pad = bundle.codec.pad_id
        self._model = bundle.policy.language_model

    def clear(self) -> None:
        """See `TokenSampler.clear`."""
        super().clear()
        self._episodes: dict[int, list[int]] = {}

    def start(self, slot: int, ids: Sequence[int], stream: str | int | None = None) -> None:  # noqa: ARG002
        """See `TokenSampler.start`."""
        self._episodes[slot] = list(ids)

    def append(self, slot: int, ids: Sequence[int]) -> None:
        """See `TokenSampler.append`."""
        self._episodes[slot].extend(ids)

    def remaining_tokens(self, slot: int) -> int:
        """See `TokenSampler.remaining_tokens`."""
        return self._context - len(self._episodes[slot])

    def free(self, slot: int) -> None:
        """See `TokenSampler.free`."""
        del self._episodes[slot]

    def request(self, slots: Sequence[int]) -> None:
        """See `TokenSampler.request`."""
        self._waiting.extend(slots)

    @torch.inference_mode()
    def decode(self) -> dict[int, Sampled]:
        """Sample all requested actions. Log-probabilities are those of the scores that `generate` returns."""
        slots, self._waiting = self._waiting, []
        rows = [self._episodes[slot] for slot in slots]
        width = max(map(len, rows))
        ids = torch.tensor([[self._pad] * (width - len(row)) + row for row in rows], device=self._policy.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self._policy.device)
        output = self._model.generate(  # type: ignore[operator]  # nn.Module does not say that it can
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            temperature=self._temperature,
            max_new_tokens=self._sampling.max_action_tokens,
            eos_token_id=self._stop,
            pad_token_id=self._pad,
            output_logits=True,
            return_dict_in_generate=True,
        )
        drawn = output.sequences[:, width:]
        scores = torch.stack(output.logits, dim=1).float().log_softmax(-1).gather(-1, drawn[..., None]).squeeze(-1)
        return {each[0]: self._cut(*each) for each in zip(slots, drawn.tolist(), scores.tolist(), strict=True)}

    def _cut(self, slot: int, drawn: list[int], scores: list[float]) -> Sampled:
        stopped = self._stop in drawn
        end = drawn.index(self._stop) + 1 if stopped else len(drawn)
        self._episodes[slot].extend(drawn[:end])
        return Sampled(drawn[:end], scores[:end], stopped)
