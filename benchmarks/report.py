"""All that the benchmarks measured, as the tables of benchmarks/README.md.

    python benchmarks/report.py                  # writes them into that page, between two marks

Medians with the smallest and largest value; the ratio is diffusers' median over ours, so above 1
this package is ahead, with the middle half of the ratios of single rounds.
"""

import json
from pathlib import Path
from statistics import median, quantiles

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
MARKS = "<!-- written by report.py -->", "<!-- up to here -->"
SPEED = {"cold": "process start to the first picture", "warm": "one more picture"}
HEADS = "| | ours | diffusers | ratio | middle half |\n|---|---|---|---|---|"


def stored(name: str) -> dict:
    return json.loads((HERE / f"{name}.json").read_text("utf-8"))


def spelled(seconds: list[float]) -> str:
    """Median (smallest to largest), in a unit in which the median has digits before the point."""
    factor, unit = (1000, "ms") if median(seconds) < 0.5 else (1, "s")
    low, middle, high = (f"{factor * f(seconds):.3g}" for f in (min, median, max))
    return f"{middle} {unit} ({low} to {high})"


def row(label: str, ours: list[float], theirs: list[float]) -> str:
    """One line: seconds of each round of both, and how they compare."""
    ratios = [their / our for our, their in zip(ours, theirs)]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else 3 * ratios
    ratio = f"{median(theirs) / median(ours):.2f} | {low:.2f} to {high:.2f}"
    return f"| {label} | {spelled(ours)} | {spelled(theirs)} | {ratio} |"


def seconds() -> str:
    """Pictures, single networks and opening: every pair that was measured in turns."""
    speed, steps, opening = stored("speed"), stored("steps")["rows"], stored("full_size")
    lines = [HEADS]
    for kind, label in SPEED.items():
        both = (speed[who][kind] for who in ("ours", "diffusers"))
        lines.append(row(f"Tiny SD, {label}", *both))
    for label, result in sorted(steps.items(), key=lambda step: not step[0].startswith("tiny")):
        for who, times in result["seconds"].items():
            if who != "diffusers":
                name = label.replace("tiny", "Tiny SD") + who.removeprefix("ours")
                lines.append(row(name, times, result["seconds"]["diffusers"]))
    for label, result in opened(opening).items():
        both = (result[who]["of each round"] for who in ("ours", "diffusers"))
        lines.append(row(f"opening {label}", *both))
    return "\n".join(lines)


def opened(found: dict) -> dict[str, dict]:
    """Format -> what opening it took; SD 1.5's formats, and the bundled model."""
    rows = {f"SD 1.5, {name}": result for name, result in found["formats"].items()}
    return rows | {"Tiny SD, as it comes": found["bundled"]}


def memory() -> str:
    """What opening takes at its peak, and keeps, as multiples of the file."""
    found, lines = stored("full_size"), ["| as float32 | file | ours: peak, own | diffusers |"]
    lines.append("|---|---|---|---|")
    for label, result in opened(found).items():
        size = result["file"]
        taken = [
            ", ".join(f"{result[who][key] / size:.2f} x" for key in ("peak", "own"))
            for who in ("ours", "diffusers")
        ]
        lines.append(f"| {label} | {size / 1e6:,.0f} MB | {' | '.join(taken)} |")
    return "\n".join(lines)


def parity() -> str:
    """The largest difference from diffusers on the same weights and inputs."""
    formats = stored("full_size")["formats"]
    parts = [*next(iter(formats.values()))["differences"]]
    lines = [f"| | {' | '.join(parts)} |", "|---" * (1 + len(parts)) + "|"]
    for label, result in formats.items():
        cells = " | ".join(f"{result['differences'][part]:.0e}" for part in parts)
        lines.append(f"| {label} | {cells} |")
    return "\n".join(lines)


def sliders() -> str:
    """Milliseconds from the key to the picture, in the kernel and in the rest of the way."""
    lines = ["| page | slider | kernel | browser and way |", "|---|---|---|---|"]
    for one in stored("sliders")["sliders"]:
        times = [f"{median(one[part]):.3g} ms (at most {max(one[part]):.0f})" for part in TIMES]
        what = one["slider"] + (", stored" if one["stored"] else ", computed")
        lines.append(f"| {one['page']} | {what} | {' | '.join(times)} |")
    return "\n".join(lines)


TIMES = "kernel", "browser"
SECTIONS = {
    "Seconds, in turns": seconds,
    "Memory when a model is opened": memory,
    "Largest difference from diffusers at full size": parity,
    "Sliders, in JupyterLab and Chromium": sliders,
}


def tables() -> str:
    """All tables, each under its heading."""
    return "\n\n".join(f"## {heading}\n\n{table()}" for heading, table in SECTIONS.items())


def main() -> None:
    before, rest = PAGE.read_text("utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    PAGE.write_text(f"{before}{MARKS[0]}\n\n{tables()}\n\n{MARKS[1]}{after}", "utf-8")
    print(f"{tables()}\n\nwritten to {PAGE}")


if __name__ == "__main__":
    main()
