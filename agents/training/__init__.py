"""Training: PPO and GRPO with step-level advantages, supervised fine-tuning and DPO."""
