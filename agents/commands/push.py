"""`steptool push`."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import tyro
from rich.console import Console

from agents.errors import CheckpointError
from agents.reporting.console import print_written
from agents.reporting.outputs import check_empty


@dataclass(frozen=True)
class Command:
    """Upload a checkpoint to the Hugging Face hub, with a model card.

    The repository gets the weights, the tokenizer, the value head and the settings, without the optimizer and without
    paths of this machine. Adapters of a model on this machine are merged into it. Every flag that takes a checkpoint
    takes hf://USER/NAME, or hf://USER/NAME@REVISION.

    Example: steptool push runs/steptool --repo USER/NAME --private
    """

    checkpoint: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="CHECKPOINT")]
    """Folder of a checkpoint, or of a run, whose newest checkpoint is taken."""
    repo: Annotated[str, tyro.conf.arg(metavar="USER/NAME")]
    """Repository, which is created if it does not exist."""
    private: bool = False
    """Make a new repository private; by default that of the account."""
    revision: Annotated[str, tyro.conf.arg(metavar="BRANCH")] = "main"
    """Branch of the repository."""
    replace: bool = False
    """Delete all other files of the branch. By default they stay, and weights of another kind than those that are
    pushed, which would be loaded with them, are an error."""
    license: Annotated[str, tyro.conf.arg(metavar="ID")] = ""
    """Licence that the model card names, such as apache-2.0."""
    dry_run: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write the files to this folder instead, new or empty."""

    def run(self) -> dict[str, Any]:
        """Upload, and print the address and the pinned name."""
        from agents.models import hub

        hub.check_name(self.repo)
        console = Console()
        if self.dry_run is not None:
            check_empty(self.dry_run)
            self._write(self.dry_run)
            print_written(console, self.dry_run, f"read README.md; {self._command()}")
            return {"wrote": self.dry_run}
        with TemporaryDirectory() as folder:
            self._write(Path(folder))
            visibility = self.private or None
            commit = hub.push_to_hub(
                Path(folder), self.repo, private=visibility, revision=self.revision, replace=self.replace
            )
        console.print(f"pushed {commit.repo_url}", highlight=False, soft_wrap=True)
        pinned = f"hf://{self.repo}@{commit.oid}"
        console.print(f"pinned {pinned}", highlight=False, soft_wrap=True)
        return {"pushed": str(commit.repo_url), "pinned": pinned}

    def _command(self) -> str:
        """Return the command that uploads what this one has written."""
        words = ["steptool", "push", str(self.checkpoint), "--repo", self.repo, "--revision", self.revision]
        words += [flag for flag, given in (("--private", self.private), ("--replace", self.replace)) if given]
        return shlex.join([*words, *(["--license", self.license] if self.license else [])])

    def _write(self, folder: Path) -> None:
        """Write the files of the repository."""
        from agents.models import checkpoint
        from agents.models.bundle import load_policy
        from agents.models.policy import Policy
        from agents.models.weights import base_model, merged
        from agents.reporting.model_card import model_card
        from agents.training.metrics_log import read_metrics

        source = checkpoint.resolve_checkpoint(self.checkpoint)
        state = {
            "settings": checkpoint.without_places(checkpoint.load_config(source)),
            "progress": vars(checkpoint.load_counters(source)),
        }
        base = base_model(source)
        if base and Path(base).is_dir():
            bundle = load_policy(source)
            policy = Policy(merged(bundle.policy.language_model), "none")
            counters = checkpoint.load_counters(source)
            checkpoint.save(folder, policy, bundle.tokenizer, counters=counters, config=state["settings"])
            base = ""
        elif Path(base).is_absolute() or base.startswith((".", "~")):
            raise CheckpointError(f"{source}: {base}, the base model of its adapters, is missing; restore it")
        else:
            checkpoint.copy_for_use(source, folder)
        run = source.parent if source.name.startswith("checkpoint-") else source
        records = read_metrics(run) if (run / "metrics.jsonl").exists() else []
        card = model_card(self.repo, run, records, state, base, self.license)
        (folder / "README.md").write_text(card, encoding="utf-8")
