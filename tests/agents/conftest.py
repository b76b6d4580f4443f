"""Tests of the agents share the machine's cores among workers: one thread each."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
