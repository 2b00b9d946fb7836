"""The checkers of page 12 on right answers and on typical wrong ones."""

import pytest
import torch

from boringfusion_lite import checks, frechet, resampling
from boringfusion_lite.runtime import generator


def untouched(*args):
    return None


def rows(n, again=2000):
    return torch.randint(n, (again, n), generator=generator(7))


def ends(means, tail=0.025):
    return tuple(means.quantile(torch.tensor([tail, 1 - tail])).tolist())


def right_bootstrap(scores):
    return ends((scores[:, 1] - scores[:, 0])[rows(len(scores))].mean(dim=1))


def without_replacement(scores):
    apart = scores[:, 1] - scores[:, 0]
    draws = [apart[torch.randperm(len(apart))].mean() for _ in range(50)]
    return ends(torch.stack(draws))


def broken_pairs(scores):
    g, n = generator(1), len(scores)
    one, other = (scores[:, i][torch.randint(n, (2000, n), generator=g)] for i in (0, 1))
    return ends(other.mean(dim=1) - one.mean(dim=1))


def of_the_values(scores):
    return ends(scores[:, 1] - scores[:, 0])


def swapped(scores):
    return right_bootstrap(scores.flip(1))


def ninety(scores):
    return ends((scores[:, 1] - scores[:, 0])[rows(len(scores))].mean(dim=1), 0.05)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (without_replacement, "without replacement"),
        (broken_pairs, "pairs are broken"),
        (of_the_values, "ends of the values"),
        (swapped, "second minus first"),
        (ninety, "2.5 %"),
        (lambda scores: 3.0, "two numbers"),
    ],
)
def test_bootstrap_mistakes_are_named(wrong, words):
    verdict = checks.check_bootstrap(wrong)
    assert verdict.passed is False and words in verdict.message, verdict


def right_frechet(mean1, cov1, mean2, cov2):
    root = frechet.square_root(cov1)
    shared = frechet.square_root(root @ cov2 @ root)
    return (mean1 - mean2).square().sum() + (cov1 + cov2 - 2 * shared).trace()


def number_by_number(mean1, cov1, mean2, cov2):
    root = (cov1 @ cov2).abs().sqrt()
    return (mean1 - mean2).square().sum() + (cov1 + cov2 - 2 * root).trace()


def no_means(mean1, cov1, mean2, cov2):
    return right_frechet(mean1, cov1, mean1, cov2)


def roots_apart(mean1, cov1, mean2, cov2):
    roots = frechet.square_root(cov1) @ frechet.square_root(cov2)
    return (mean1 - mean2).square().sum() + (cov1 + cov2 - 2 * roots).trace()


def rooted(*args):
    return right_frechet(*args).sqrt()


def whole_matrix(mean1, cov1, mean2, cov2):
    return cov1 + cov2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (number_by_number, "number by number"),
        (no_means, "means are missing"),
        (roots_apart, "product of roots"),
        (rooted, "squared distance"),
        (whole_matrix, "diagonal"),
    ],
)
def test_frechet_mistakes_are_named(wrong, words):
    verdict = checks.check_frechet(wrong)
    assert verdict.passed is False and words in verdict.message, verdict


def differs(apart):
    low, high = resampling.bootstrap(apart, resamples=500)
    return not low <= 0 <= high


def right_comparison(a, b, declared):
    return differs(b[declared] - a[declared])


def peeking(a, b, declared):
    apart = b[declared] - a[declared]
    return any(differs(apart[:n]) for n in (10, 20, 40, 60, 80))


def best_of_all(a, b, declared):
    return any(differs(b[name] - a[name]) for name in a)


def two_heaps(a, b, declared):
    a, b = a[declared], b[declared]
    error = (a.var() / len(a) + b.var() / len(b)) ** 0.5
    return abs(b.mean() - a.mean()) > 1.96 * error


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (peeking, "again and again"),
        (best_of_all, "best of several"),
        (two_heaps, "two heaps"),
        (lambda a, b, declared: False, "two heaps"),
        (lambda a, b, declared: True, "too narrow"),
    ],
)
def test_comparison_mistakes_are_named(wrong, words):
    verdict = checks.check_comparison(wrong)
    assert verdict.passed is False and words in verdict.message, verdict


CHECKS = {
    checks.check_bootstrap: right_bootstrap,
    checks.check_frechet: right_frechet,
    checks.check_comparison: right_comparison,
}


@pytest.mark.parametrize("check", CHECKS)
def test_right_answers_pass_and_untouched_ones_are_not_attempted(check):
    verdict = check(CHECKS[check])
    assert verdict.passed is True, verdict
    assert check(untouched).passed is None
