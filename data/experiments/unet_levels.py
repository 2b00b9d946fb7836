"""How deep should a UNet be? One, two and three levels of one width, trained for as many steps.

python data/experiments/unet_levels.py --steps 250     # two minutes on two cores
"""

from time import perf_counter

from unet_trial import (
    BUCKETS,
    SHOWN,
    Ground,
    Trial,
    asked_steps,
    begun,
    draw,
    errors,
    film,
    scores,
    write,
)

from boringfusion_lite import closeups, judge

ASKED = 48
ARMS = {"one level": (64,), "two levels": (64, 64), "three levels": (64, 64, 64)}

if __name__ == "__main__":
    steps, ground, critic = asked_steps(250), Ground.load(), judge.load_judge()
    scenes = closeups.closeup_scenes(closeups.FEW, ASKED, first=2 * 10**6)
    told = begun("unet_levels", steps=steps, timesteps=BUCKETS.tolist(), prompts=SHOWN, widths=ARMS)
    arms = told.setdefault("arms", {})
    for name, channels in ARMS.items():
        if name in arms:
            continue
        trial, began = Trial(steps, channels=channels), perf_counter()
        unet = trial.trained(ground)
        seconds = perf_counter() - began
        arms[name] = {
            "channels": channels,
            "parameters": sum(p.numel() for p in unet.parameters()),
            "seconds": round(seconds, 1),
            "errors": errors(ground, unet),
            "judge": scores(critic, draw(ground, unet, [s.caption for s in scenes]), scenes),
            "pictures": film(draw(ground, unet, SHOWN)),
        }
        print(name, {k: v for k, v in arms[name].items() if k != "pictures"}, flush=True)
        write("unet_levels", told)
