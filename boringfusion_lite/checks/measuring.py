"""The exercises of page 12: a bootstrap of pairs, the Frechet distance, a fair comparison."""

import torch
from torch import Tensor

from ..frechet import frechet_gaussians, square_root
from ..resampling import bootstrap
from ..runtime import generator
from .verdict import Wrong, ask, checks, expect

RUNS, MOST, LEAST = 200, 0.08, 0.7  # trials; false alarms allowed; real differences to be found


def _pairs(seed: int, n: int) -> Tensor:
    """Two scores [n, 2] of the same prompts, some of which are hard for both."""
    g = generator(seed)
    hard = torch.randn(n, 1, generator=g)
    return hard + torch.randn(n, 2, generator=g) * torch.tensor([0.2, 0.4]) + torch.tensor([0, 0.3])


def _apart(scores: Tensor, confidence: float = 0.95) -> tuple[float, float]:
    return bootstrap(scores[:, 1] - scores[:, 0], resamples=4000, confidence=confidence)


def _broken(scores: Tensor) -> tuple[float, float]:
    """The interval where either column is drawn by itself."""
    g, n = generator(0), len(scores)
    one, other = (scores[:, i][torch.randint(n, (4000, n), generator=g)] for i in (0, 1))
    ends = (other.mean(dim=1) - one.mean(dim=1)).quantile(torch.tensor([0.025, 0.975]))
    return ends[0].item(), ends[1].item()


def _near(answer, wanted: tuple[float, float]) -> bool:
    """Both ends within a tenth of the interval's width."""
    room = 0.1 * (wanted[1] - wanted[0])
    return all(abs(a - b) <= room for a, b in zip(answer, wanted))


def _ends(answer) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in answer)
    except (TypeError, ValueError) as error:
        raise Wrong(f"expected two numbers, low and high; got {answer!r:.60}.") from error
    return low, high


@checks
def check_bootstrap(yours) -> str:
    """`yours(scores)` is the 95 % interval of mean(second - first), drawn by rows [N, 2]."""
    for seed, n in ((3, 60), (4, 25), (5, 200)):
        scores = _pairs(seed, n)
        wanted, answer = _apart(scores), _ends(ask(yours, scores))
        if _near(answer, wanted):
            continue
        values = (scores[:, 1] - scores[:, 0]).quantile(torch.tensor([0.025, 0.975])).tolist()
        causes = {
            "Its ends are equal: without replacement every draw is the same set again; use "
            "torch.randint, not torch.randperm.": answer[1] - answer[0]
            < 1e-6 * (1 + abs(answer[0])),
            "The pairs are broken: draw rows, so that both scores of a prompt stay "
            "together.": _near(answer, _broken(scores)),
            "These are the ends of the values; we want those of their mean, over the draws.": _near(
                answer, values
            ),
            "The sign: second minus first.": _near(answer, (-wanted[1], -wanted[0])),
            "This is the middle 90 %; cut off 2.5 % at either end.": _near(
                answer, _apart(scores, 0.90)
            ),
        }
        reason = next((text for text, fits in causes.items() if fits), "")
        told = f"expected about ({wanted[0]:.3f}, {wanted[1]:.3f}), got ({answer[0]:.3f}, "
        raise Wrong(f"{told}{answer[1]:.3f}) for {n} pairs. {reason}".rstrip())
    return "the interval, with every prompt's two scores kept together"


def _gaussian(seed: int, width: int) -> tuple[Tensor, Tensor]:
    g = generator(seed)
    base = torch.randn(width, 3 * width, generator=g, dtype=torch.float64)
    return torch.randn(width, generator=g, dtype=torch.float64), base @ base.T / (3 * width)


@checks
def check_frechet(yours) -> str:
    """`yours(mean1, cov1, mean2, cov2)` is the squared Frechet distance of two Gaussians."""
    for seed, width in ((1, 2), (2, 5), (3, 16)):
        (m1, c1), (m2, c2) = _gaussian(seed, width), _gaussian(seed + 50, width)
        far, both = (m1 - m2).square().sum(), c1.trace() + c2.trace()
        wanted = frechet_gaussians(m1, c1, m2, c2)
        shared = (far + both - wanted) / 2  # trace of the root of C1 C2
        product = (c1 @ c2).abs().sqrt().trace()
        causes = {
            "The root was taken number by number; a matrix root R has R @ R = C.": float(
                far + both - 2 * product
            ),
            "The means are missing: add |mean1 - mean2|^2.": float(both - 2 * shared),
            "The distance of the means enters squared.": float(far.sqrt() + both - 2 * shared),
            "The root of the product is no product of roots, unless the two commute: take "
            "root(C1) C2 root(C1), and its root.": float(
                far + both - 2 * (square_root(c1) @ square_root(c2)).trace()
            ),
            "The shared part counts twice: trace(C1 + C2 - 2 root).": float(far + both - shared),
            "This is its root; we want the squared distance.": wanted**0.5,
        }
        expect(_number(ask(yours, m1, c1, m2, c2)), wanted, "The distance", causes, 1e-3)
    same = _gaussian(9, 4)
    expect(_number(ask(yours, *same, *same)), 0.0, "The distance to itself", None, 1e-6)
    return "the distance, for clouds of any shape"


def _number(answer) -> float:
    if isinstance(answer, Tensor) and answer.numel() != 1:
        raise Wrong(f"expected one number, got a tensor {list(answer.shape)}: add up the diagonal.")
    return float(answer)


def _trial(seed: int, effect: float, names: tuple[str, ...]) -> tuple[dict, dict]:
    """Scores of A and B on the same 80 prompts and seeds; `effect` is B's lead in the first."""
    g, a, b = generator(seed), {}, {}
    for i, name in enumerate(names):
        hard = torch.randn(80, generator=g)
        a[name], b[name] = (hard + 0.3 * torch.randn(80, generator=g) for _ in range(2))
        b[name] += effect * (i == 0)
    return a, b


def _decided(yours, effect: float, names: tuple[str, ...], runs: int) -> float:
    """In what share of trials a difference is seen in the first of the scores."""
    seen = [bool(ask(yours, *_trial(seed, effect, names), names[0])) for seed in range(runs)]
    return sum(seen) / runs


@checks
def check_comparison(yours) -> str:
    """`yours(a, b, declared)` says whether A and B differ; a, b: {score: [N]}, in pairs."""
    alarms = _decided(yours, 0.0, ("right",), RUNS)
    if alarms > MOST:
        raise Wrong(
            f"of {RUNS} comparisons of equals, {alarms:.0%} found a difference; at 95 % it should "
            "be about 5 %. Likely you look again and again while the prompts come in, and stop "
            "at the first difference; or the interval is too narrow."
        )
    many = _decided(yours, 0.0, ("right", "clip", "frechet", "style", "colour", "place"), RUNS)
    if many > MOST:
        raise Wrong(
            f"with six scores, {many:.0%} of equals differ, with one {alarms:.0%}: whoever "
            "takes the best of several finds something. Look only at `declared`."
        )
    found = _decided(yours, 0.2, ("right", "clip"), RUNS // 2)
    if found < LEAST:
        raise Wrong(
            f"B leads by 0.2 here, and it is seen in {found:.0%} of cases; pairs show it in most. "
            "Likely A and B were compared as two heaps: take the difference prompt by prompt."
        )
    return f"{alarms:.1%} false alarms in {RUNS} comparisons of equals, {found:.0%} of leads found"
