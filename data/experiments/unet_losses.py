"""What the UNet is asked to name, and how its errors are weighted: five trainings from one start.

python data/experiments/unet_losses.py --steps 250     # four minutes on one core
"""

from unet_trial import BUCKETS, SHOWN, Ground, Trial, asked_steps, begun, draw, errors, film, write

ARMS = {
    "eps": Trial(weights="uniform"),
    "x0": Trial(predict="sample", weights="as_x0"),
    "v": Trial(predict="v_prediction", weights="as_v"),
    "eps, min-SNR": Trial(weights="min_snr"),
    "eps, clipped v": Trial(weights="clipped_v"),
}

if __name__ == "__main__":
    steps, ground = asked_steps(600), Ground.load()
    told = begun("unet_losses", steps=steps, timesteps=BUCKETS.tolist(), prompts=SHOWN)
    arms = told.setdefault("arms", {})
    for name, trial in ARMS.items():
        if name in arms:
            continue
        trial.steps = steps
        unet = trial.trained(ground)
        arms[name] = {
            "predict": trial.predict,
            "weights": trial.weights,
            "errors": errors(ground, unet, trial.predict),
            "pictures": film(draw(ground, unet, SHOWN, trial.predict)),
            "loss": trial.curve(),
        }
        print(name, arms[name]["errors"], flush=True)
        write("unet_losses", told)
