"""Put what `scores.json` says into the README and the model card: no number is copied by hand.

python -m boringfusion_lite.evaluate         # writes data/tiny-sd/scores.json
python data/tell_scores.py
"""

import json
import re
from pathlib import Path

from boringfusion_lite.evaluate import format_table, shown

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "data" / "tiny-sd"
TOLD = [  # part, score: the rows of the README's table
    ("vae", "PSNR, mean of all"),
    ("clip", "caption found among 256"),
    ("pictures", "thing"),
    ("pictures", "colour"),
    ("pictures", "count"),
    ("pictures", "place"),
    ("pictures", "style"),
    ("pictures", "surroundings"),
    ("pictures", "everything"),
    ("pictures of pairs never trained", "everything"),
    ("judge: drawings", "thing"),
    ("judge: drawings", "colour"),
]
HEAD = "| score | measured | 95 % interval | chance | first release | goal |\n" + "|---" * 6 + "|"


def line(row: dict) -> str:
    """One score as a row of a Markdown table."""
    unit = row["unit"]
    interval = " to ".join(shown(end, unit) for end in row["interval"]) if row["interval"] else "-"
    compared = " | ".join(shown(row[name], unit) for name in ("chance", "first", "goal"))
    measured = f"{shown(row['value'], unit)} {unit}"
    return f"| {row['part']}: {row['score']} | {measured} | {interval} | {compared} |"


def replace(file: Path, pattern: str, text: str) -> None:
    """Put the text in the place of what the pattern's middle matches, once."""
    old = file.read_text("utf-8")
    new, count = re.subn(pattern, lambda found: f"{found[1]}{text}{found[2]}", old, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{file} has {count} places for the scores instead of one.")
    file.write_text(new, "utf-8")


def main() -> None:
    scores = json.loads((MODEL / "scores.json").read_text("utf-8"))
    rows = {(row["part"], row["score"]): row for row in scores["rows"]}
    table = "\n".join([HEAD, *(line(rows[name]) for name in TOLD)])
    replace(ROOT / "README.md", r"(<!-- scores -->\n).*(\n<!-- /scores -->)", table)
    replace(MODEL / "README.md", r"(## How good it is\n.*?```\n).*?(\n```)", format_table(scores))


if __name__ == "__main__":
    main()
