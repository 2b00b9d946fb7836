"""Textual inversion: new words for a model that itself stays as it is.

    words = bf.load_words("cat-toy.safetensors")             # {"<cat-toy>": [n, D]}
    taught = bf.with_words(sd, words)
    picture = taught("a photo of a (<cat-toy>:1.2) on the beach", seed=0)

Of all that makes a word for the model, only its vectors in the table of tokens are learned: those
that, in its place in a caption, explain a few pictures best. Gal et al. 2022 (arXiv 2208.01618).
A word may have several. It then takes as many of the 75 places in a prompt, and each of its vectors
has an id of its own, counted on from the end of the table: 49408, 49409, ...
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor, nn

from .pipeline import StableDiffusion
from .saving import replace_file
from .sharing import with_weights
from .tokenizer import Encoding, Tokenizer
from .weight_files import is_pickle, read, unpickle

Words = Mapping[str, Tensor]  # a word as it is typed -> its vectors [n, D]
FAMILIES = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x"}
EDGE = r"(?:(?<!\w)|(?!\w))"  # a place in a text that is not between two letters
TABLE = "token_embedding.weight"  # in the text encoder


# ---- the model -----------------------------------------------------------------------------------


def with_words(sd: StableDiffusion, words: Words) -> StableDiffusion:
    """The model with new words; sd stays as it is, and everything but the table is shared with it.

    A new word is found in upper and lower case, but a name of letters not in the middle of another
    word. ValueError for a word that is known already, and for vectors of another model's width.
    """
    if not words:
        return sd
    check(words, sd)
    with torch.no_grad():
        table = extended_table(sd, words)
    encoder = with_weights(sd.text_encoder, {TABLE: table})
    encoder.token_embedding.num_embeddings = len(table)
    encoder.config = replace(encoder.config, vocabulary=len(table))
    ids, end = {}, len(sd.text_encoder.token_embedding.weight)
    for word, vectors in words.items():
        ids[word] = list(range(end, end + len(vectors)))
        end += len(vectors)
    return replace(sd, text_encoder=encoder, tokenizer=TaughtTokenizer(sd.tokenizer, ids))


def extended_table(sd: StableDiffusion, words: Words) -> Tensor:
    """The table of tokens with the words' vectors as its last rows: [tokens + n, D].

    Differentiable, so this is also how a word is learned. Let its vectors collect gradients, and

        weights, ids = {TABLE: extended_table(sd, words)}, taught.tokenize(captions)
        context = torch.func.functional_call(taught.text_encoder, weights, ids)
    """
    table = sd.text_encoder.token_embedding.weight
    return torch.cat([table, *(vectors.to(table) for vectors in words.values())])


def check(words: Words, sd: StableDiffusion) -> None:
    """ValueError where the model cannot be given these words."""
    width, seen = sd.text_encoder.config.width, set()
    for word, vectors in words.items():
        if not word.strip() or word.strip() != word:
            raise ValueError(f"{word!r} is no word: give one without space before or after it.")
        if is_known(word, sd.tokenizer) or word.lower() in seen:
            raise ValueError(
                f"The word {word!r} is there already, and would lose its meaning. Give the new one "
                'a name that no text contains: load_words(path, word="<cat-toy>").'
            )
        if vectors.dim() != 2 or not len(vectors) or vectors.shape[1] != width:
            family = FAMILIES.get(vectors.shape[-1] if vectors.dim() else 0, "another model")
            raise ValueError(
                f"{word!r} has vectors of shape {list(vectors.shape)}, and those of this model are "
                f"{width} wide: it was learned for {family}. Use it with a model of that family."
            )
        seen.add(word.lower())


# ---- the tokenizer -------------------------------------------------------------------------------


class TaughtTokenizer(Tokenizer):
    """A tokenizer that knows some words as a whole, each with one or several ids of its own."""

    def __init__(self, tokenizer: Tokenizer, words: Mapping[str, list[int]]):
        taught = taught_to(tokenizer) | words
        self.taught = {word: taught[word] for word in sorted(taught, key=len, reverse=True)}
        groups = "|".join(rf"({EDGE}{re.escape(word)}{EDGE})" for word in self.taught)
        self.pattern = re.compile(groups, re.IGNORECASE)
        self.names = {  # "<cat-toy>", "<cat-toy>_1", ...: what diffusers calls a word's ids
            i: f"{word}_{n}" if n else word
            for word, ids in self.taught.items()
            for n, i in enumerate(ids)
        }
        super().__init__(tokenizer.engine, tokenizer.pad)

    def _encode(self, text: str) -> Encoding:
        if not isinstance(text, str):
            return super()._encode(text)  # which refuses it
        whole, at = Encoding([], [], [], []), 0
        for found in [*self.pattern.finditer(text), None]:
            between = super()._encode(text[at : found.start() if found else None])
            spans = [(at + begin, at + end) for begin, end in between.spans]
            whole = joined(whole, between._replace(spans=spans))
            if found:
                own, at = [*self.taught.values()][found.lastindex - 1], found.end()
                tokens, spans = [self.names[i] for i in own], [found.span()] * len(own)
                whole = joined(whole, Encoding(own, tokens, spans, [0] * len(own)))
        return whole

    def decode(self, ids: Tensor | list[int]) -> str:
        """As `Tokenizer.decode`; a word of several ids is written once, at its first."""
        ids = torch.as_tensor(ids, dtype=torch.long)
        if ids.ndim != 1:
            return super().decode(ids)  # which refuses it
        firsts = {own[0]: word for word, own in self.taught.items()}
        texts = []
        for is_new, run in groupby(ids.tolist(), lambda i: i in self.names):
            run = list(run)
            texts += [firsts[i] for i in run if i in firsts] if is_new else [super().decode(run)]
        return " ".join(filter(None, texts))


def joined(before: Encoding, after: Encoding) -> Encoding:
    """Two neighbours as one: the words are counted on."""
    count = before.words[-1] + 1 if before.words else 0
    after = after._replace(words=[count + number for number in after.words])
    return Encoding(*(one + other for one, other in zip(before, after)))


def taught_to(tokenizer: Tokenizer) -> dict[str, list[int]]:
    return tokenizer.taught if isinstance(tokenizer, TaughtTokenizer) else {}


def is_known(word: str, tokenizer: Tokenizer) -> bool:
    """Does the tokenizer have this word as a whole already?"""
    taught = map(str.lower, taught_to(tokenizer))
    return len(tokenizer.pieces(word)) == 1 or word.lower() in taught


# ---- files ---------------------------------------------------------------------------------------


def load_words(path: str | Path, word: str | None = None) -> dict[str, Tensor]:
    """Read a textual-inversion file: the words in it and their vectors, float32 [n, D].

    Three layouts, as .safetensors, .pt or .bin: that of diffusers ("learned_embeds"), and two of
    AUTOMATIC1111's web UI. Where no word is written in the file, the file's name is the word.
    word: another name for the only word in the file. ValueError for a file that holds something
    else; for what cannot be read at all see `weight_files.read`.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}: check the path.")
    with torch.serialization.safe_globals([nn.ParameterDict]):  # the paper's own .pt files have one
        found = words_in(unpickle(file) if is_pickle(file) else read(file), file)
    if word is not None:
        if len(found) != 1:
            raise ValueError(f"{file} holds {len(found)} words, {', '.join(found)}: give no name.")
        found = dict.fromkeys([word], *found.values())
    return {w: v.detach().float().reshape(-1, v.shape[-1]) for w, v in found.items()}


def words_in(content, file: Path) -> dict[str, Tensor]:
    """Word -> vectors [n, D] or [D], from what was in the file."""
    found = content if isinstance(content, dict) else {"emb_params": content}
    if {"clip_l", "clip_g"} & found.keys():
        raise ValueError(
            f"{file} is a word for SDXL, with vectors for its two text encoders. Use it there, or "
            "look for the same word made for Stable Diffusion 1.x."
        )
    if "emb_params" in found:  # the web UI's .safetensors
        found = {file.stem: found["emb_params"]}
    elif "string_to_param" in found:  # its .pt
        try:
            vectors = found["string_to_param"]["*"]
        except (LookupError, TypeError, AttributeError):
            vectors = None
        found = {str(found.get("name") or file.stem): vectors}
    vectors = [v for v in found.values() if isinstance(v, Tensor) and v.dim() in (1, 2)]
    if not vectors or len(vectors) < len(found):
        raise ValueError(
            f"{file} holds no textual inversion, which is one or several vectors for a word. For a "
            "whole model use `load`, for a LoRA `load_lora`."
        )
    return found


def save_words(words: Words, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Write a word as a `.safetensors` file that diffusers and AUTOMATIC1111's web UI read.

    They want one word a file: ValueError for more. notes: for the file's header, such as how it was
    made. What was at `path` is replaced when all is written.
    """
    if len(words) != 1:
        raise ValueError(f"One word goes into a file, not {len(words)}: save them one by one.")
    tensors = {word: vectors.detach().cpu() for word, vectors in words.items()}
    replace_file(Path(path), tensors, notes)
