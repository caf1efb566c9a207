"""A checkpoint of any kind as a Hugging Face folder."""

from __future__ import annotations

import json
from pathlib import Path

from acejax.mesh import TRAINING, make_mesh
from acejax.policy import port
from acejax.training import checkpoint


def export_checkpoint(text: str, out: Path) -> None:
    """Writes the weights (fp32), config, tokenizer, generation config and a model card of CHECKPOINT `text` to the folder `out`."""
    source = checkpoint.resolve(text)
    config = port.read_config(source.folder)
    params = source.load(config, make_mesh(), TRAINING)
    port.write_folder(out, config, port.to_tensors(params, config), {"README.md": _card(text, source)}, source.folder)


def _card(text: str, source: checkpoint.Source) -> str:
    """The model card: where the weights come from, what was measured, and the run's configuration."""
    lines = [f"# {Path(text.partition('@')[0]).name}", "", f"Exported by acejax from `{text}`."]
    if source.run is None:
        return "\n".join(lines) + "\n"
    lines[-1] += f" Step {source.step}."
    summary = source.run / "summary.json"
    if summary.exists():
        lines += ["", "| stage | domain | k | avg@k | 95% interval | pass@k | problems |", "|---|---|---|---|---|---|---|"]
        for e in json.loads(summary.read_text()):
            interval = f"{e['avg_low']:.3f} to {e['avg_high']:.3f}"
            lines.append(f"| {e['stage']} | {e['domain']} | {e['k']} | {e['avg']:.3f} | {interval} | {e['pass']:.3f} | {e['problems']} |")
    return "\n".join([*lines, "", "```yaml", (source.run / "config.yaml").read_text().rstrip(), "```"]) + "\n"
