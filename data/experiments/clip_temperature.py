"""What the temperature does to CLIP's training: fixed ones, and one that is learned.

python data/experiments/clip_temperature.py     # about two minutes; writes clip_temperature.json
"""

from clip_trial import Trial, write

if __name__ == "__main__":
    fixed = {f"{t:g}": Trial(temperature=t) for t in (1, 0.1, 0.03, 0.01)}
    write("clip_temperature", fixed | {"learned": Trial()})
