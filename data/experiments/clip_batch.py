"""How many captions a picture is compared with: 128 pairs a step, cut into ever smaller groups.

    python data/experiments/clip_batch.py           # about two minutes; writes clip_batch.json

All arms see the same samples in the same number of steps. Cutting a step into groups, each with a
contrastive loss of its own, is what gradient accumulation would do.
"""

from clip_trial import BATCH, Trial, write

if __name__ == "__main__":
    write("clip_batch", {str(BATCH // groups): Trial(groups=groups) for groups in (32, 8, 1)})
