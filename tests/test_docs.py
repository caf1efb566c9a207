"""What README and the configurations say of a run is what docs/results.md recorded."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def recorded(seed: int, domain: str, after: str) -> tuple[str, str]:
    """avg@8 and pass@8 of the quickstart, as docs/results.md has them."""
    row = re.search(rf"^\| {seed} \| {domain} \| {after} \| ([\d.]+) .*? \| ([\d.]+) ", RESULTS, re.MULTILINE)
    assert row is not None, f"docs/results.md has no row for seed {seed}, {domain} after {after}"
    return row[1], row[2]


def test_the_quickstarts_header_has_the_recorded_gain() -> None:
    text = (ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8")
    header = " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    for domain in ("mathematics", "code"):
        said = re.search(rf"{domain} ([\d.]+)% -> ([\d.]+)%", header)
        assert said is not None, f"the header says nothing of {domain}"
        assert said.groups() == tuple(recorded(0, domain, after)[0] for after in ("warm start", "code"))


def test_readmes_table_is_the_recorded_one() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for domain in ("mathematics", "code"):
        for after in ("warm start", "mathematics", "code"):
            said = re.search(rf"^\| {domain} \| after (?:the )?{after} \| (.*) \|$", text, re.MULTILINE)
            assert said is not None, f"README has no row for {domain} after {after}"
            shares = [tuple(re.findall(r"([\d.]+)%", cell)) for cell in said[1].split(" | ")]
            assert shares == [recorded(seed, domain, after) for seed in range(3)]
