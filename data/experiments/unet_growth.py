"""What a UNet draws while it learns: the training of notebook 11, looked at eight times.

python data/experiments/unet_growth.py --steps 700     # five minutes on one core
"""

from unet_trial import SHOWN, Ground, Trial, asked_steps, begun, draw, film, write

KINDS = {"averaged": 0.999, "raw": 0}
LOOKS = (0.01, 0.03, 0.08, 0.16, 0.3, 0.5, 0.75, 1)  # of all steps

if __name__ == "__main__":
    steps, ground, moments = asked_steps(1200), Ground.load(), []
    trial = Trial(steps, averages=(0.999,), channels=(64, 128), batch=32)
    for step, nets in trial.run(ground, [round(steps * part) for part in LOOKS]):
        kept = {name: film(draw(ground, nets[decay], SHOWN)) for name, decay in KINDS.items()}
        moments.append({"step": step} | kept)
        print(step, flush=True)
    losses = [[start, loss] for start, loss in zip(range(0, steps, steps // 100), trial.curve(100))]
    told = begun("unet_growth", steps=steps, prompts=SHOWN, batch=trial.batch)
    write("unet_growth", told | {"losses": losses, "moments": moments})
