"""Teach a model something new from a few pictures: a word, or a LoRA, or one after the other.

    words = new_word(sd, "<umbrella>", like="mushroom")
    lesson = Lesson.of(sd, drawings, captions)               # captions say "<umbrella>"
    losses = list(learn(vectors(words), lambda step: lesson.loss(step, words=words), 200, 0.02))
    taught = bf.with_words(sd, words)

The model is frozen. What learns is a vector of the word (Gal et al. 2022, arXiv 2208.01618), or the
thin matrices beside the UNet's attention (Hu et al. 2021, arXiv 2106.09685), by the loss that the
UNet itself was trained with: name the noise. A few pictures are soon known by heart, and then the
LoRA turns everything into them; so a lesson may hold old pictures as well, as rehearsal (the "prior
preservation" of Ruiz et al. 2022, arXiv 2208.12242, section 3.2).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from .lora import LoRA, updated
from .pipeline import StableDiffusion
from .recipes import generator, mixed_precision, spread_timesteps
from .textual_inversion import TABLE, Words, extended_table, with_words


def new_word(sd: StableDiffusion, word: str, like: str) -> dict[str, Tensor]:
    """A word to learn, of one vector [1, D], which begins as that of a word the model knows.

    ValueError where `like` is no single token, or one that the model never met.
    """
    ids = [piece.id for piece in sd.tokenizer.pieces(like)]
    if len(ids) != 1 or sd.unknown_words(like):
        raise ValueError(f"{like!r} is no word that this model knows as a whole: begin with one.")
    row = sd.text_encoder.token_embedding.weight[ids].detach().float().cpu()
    return {word: row.clone()}


def vectors(words: Words) -> list[Tensor]:
    """The vectors of the words as an optimiser takes them: from now on they collect gradients."""
    return [rows.requires_grad_() for rows in words.values()]


@dataclass
class Lesson:
    """Pictures with their captions, as the latents and ids that a model sees.

    latents: [N, 4, h, w]. rehearsal: how many of the N, the last ones, are old ones. Each step
    takes `batch` of the new, and of the old as many.
    """

    sd: StableDiffusion
    latents: Tensor
    captions: Sequence[str]
    rehearsal: int = 0
    batch: int = 8
    seed: int = 0

    @classmethod
    def of(cls, sd, pictures: Sequence, captions: Sequence[str], **options) -> "Lesson":
        """From PIL pictures; the captions may hold words that `sd` is about to learn."""
        if len(pictures) != len(captions):
            raise ValueError(f"{len(pictures)} pictures, {len(captions)} captions: give as many.")
        parts = [list(pictures[i : i + 16]) for i in range(0, len(pictures), 16)]
        return cls(sd, torch.cat([sd.encode_image(part) for part in parts]), captions, **options)

    def chosen(self, numbers: torch.Generator) -> Tensor:
        """Which pictures a step takes: some of the new ones, then as many old ones."""
        new = len(self.latents) - self.rehearsal
        drawn = [torch.randperm(new, generator=numbers)[: self.batch]]
        if self.rehearsal:
            drawn.append(new + torch.randperm(self.rehearsal, generator=numbers)[: self.batch])
        return torch.cat(drawn)

    def context(self, captions: Sequence[str], words: Words) -> Tensor:
        """The captions' vectors [B, 77, D], differentiable in those of the words to learn."""
        if not words:
            return self.sd.encode(list(captions))
        taught = with_words(self.sd, {word: rows.detach() for word, rows in words.items()})
        table = {TABLE: extended_table(self.sd, words)}
        return functional_call(taught.text_encoder, table, taught.tokenize(list(captions)))

    def loss(self, step: int, lora: LoRA | None = None, words: Words | None = None) -> Tensor:
        """Mean squared error of the noise guesses; all that is random follows from the step."""
        sd, numbers = self.sd, generator(self.seed, step)
        rows = self.chosen(numbers)
        x0 = self.latents[rows.to(self.latents.device)]
        noise = torch.randn(x0.shape, generator=numbers).to(x0)
        t = spread_timesteps(len(rows), sd.schedule.num_train_timesteps, numbers)
        x = sd.schedule.add_noise(x0, noise, t)
        t = t.to(x.device)
        with mixed_precision(sd.device):
            context = self.context([self.captions[i] for i in rows], words or {})
            weights = updated(sd, (lora, 1))["unet"] if lora else {}
            answer = functional_call(sd.unet, weights, (x, t, context))
        return (sd.schedule.to_eps(answer.float(), x, t) - noise).square().mean()


def learn(
    tensors: Sequence[Tensor], loss: Callable[[int], Tensor], steps: int, rate: float
) -> Iterator[float]:
    """AdamW for so many steps, the rate falling to 0 along a cosine; yields every step's loss.

    Gradients are taken of these tensors alone: what is frozen is neither changed nor marked.
    FloatingPointError where the loss is no number any more.
    """
    optimizer = torch.optim.AdamW(tensors, lr=rate, weight_decay=0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        with torch.enable_grad():
            value = loss(step)
            gradients = torch.autograd.grad(value, tensors)
        if not value.isfinite():
            raise FloatingPointError(f"The loss is {value} at step {step}: lower the rate.")
        for tensor, gradient in zip(tensors, gradients):
            tensor.grad = gradient
        optimizer.step()
        yield value.item()
