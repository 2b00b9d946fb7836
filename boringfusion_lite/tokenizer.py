"""From a prompt to numbers: CLIP's byte-pair encoding. Built by hand in notebook 01.

    >>> tokenizer = Tokenizer.load()
    >>> tokenizer("photo of a couch, photorealistic")        # LongTensor [1, 77]
    tensor([[49406,  1125,   539,   320, 12724,   267,  1153, 16157, 49407, 49407, ... 49407]])

A prompt is lower-cased, cut into words, and every word into the longest pieces that CLIP's merges
allow. The row then reads: start, up to 75 pieces, end, and end again until there are 77 ids. (SD
2.x fills up with id 0 instead, which is "!": its folder says so, and its text encoder expects it.)

The encoding itself is transformers' `CLIPTokenizer`, on files that lie in the model's folder.
Left out: OpenAI's own tokenizer first repairs broken Unicode and HTML entities in the text; so do
neither diffusers nor we, and for plain text it makes no difference.
"""

from pathlib import Path
from typing import NamedTuple

import torch

from .runtime import bundled_folder

LENGTH = 77  # ids in a row, start and end included
ROOM = LENGTH - 2  # pieces of the prompt that fit between them
VOCABULARY = 49_408
START, END = 49406, 49407  # <|startoftext|> and <|endoftext|>; in SD 1.x END also fills the row up
EXAMPLES = {  # every vocabulary is tried on these
    "photo of a couch, photorealistic": [1125, 539, 320, 12724, 267, 1153, 16157],
    "jekyll": [49405],  # the last of the 48,894 merges
}


class Piece(NamedTuple):
    """One token: its text in the vocabulary ("couch</w>": `</w>` ends a word) and its id."""

    text: str
    id: int


class Tokenizer:
    """Prompts to ids [B, 77] and back, with CLIP's vocabulary of 49,408 tokens."""

    def __init__(self, clip):
        """`clip`: a transformers `CLIPTokenizer`. ValueError where its vocabulary is not CLIP's."""
        _check_vocabulary(clip)
        self._clip = clip
        self.pad = clip.pad_token_id  # what fills a row up: END in SD 1.x, 0 in SD 2.x

    @classmethod
    def load(cls, folder: str | Path | None = None) -> "Tokenizer":
        """Read the files of a model's `tokenizer` folder; without one, the bundled vocabulary.

        The files are `vocab.json` with `merges.txt`, or `tokenizer.json`; nothing is downloaded.
        FileNotFoundError where they are missing, ValueError where they cannot be read or hold
        another vocabulary than CLIP's.
        """
        folder = Path(folder) if folder is not None else bundled_folder() / "tokenizer"
        found = {path.name for path in folder.glob("*")}
        if "tokenizer.json" not in found and not {"vocab.json", "merges.txt"} <= found:
            raise FileNotFoundError(
                f"No vocab.json with merges.txt, and no tokenizer.json, in {folder}. Give the "
                "`tokenizer` folder of an SD 1.x model, or no folder for the bundled vocabulary."
            )
        from transformers import CLIPTokenizer  # here, because importing it takes a second

        try:
            clip = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # the Rust reader raises bare Exceptions
            raise ValueError(
                f"The tokenizer files in {folder} cannot be read ({error}). They are probably cut "
                "short or damaged: copy them again."
            ) from error
        return cls(clip)

    def __call__(self, prompt: str | list[str]) -> torch.LongTensor:
        """Ids [B, 77] of one prompt (B = 1) or of a list; pieces beyond 75 are cut off.

        What was cut is shown by `cut_tail`. TypeError for anything but strings.
        """
        prompts = [prompt] if isinstance(prompt, str) else prompt
        if not isinstance(prompts, list | tuple):
            raise TypeError(_not_text(prompts))
        rows = [self._encode(text)["input_ids"][:ROOM] for text in prompts]
        rows = [[START, *ids, END, *[self.pad] * (ROOM - len(ids))] for ids in rows]
        return torch.tensor(rows, dtype=torch.long).reshape(-1, LENGTH)

    def pieces(self, text: str) -> list[Piece]:
        """Every piece of the text, uncut, without start and end."""
        ids = self._encode(text)["input_ids"]
        return [Piece(*pair) for pair in zip(self._clip.convert_ids_to_tokens(ids), ids)]

    def words(self, text: str) -> list[tuple[str, list[int]]]:
        """The words of the text as they were typed, each with its ids, uncut.

        A word is a run of letters, one digit, a run of other signs, or an ending such as "'s":
        what CLIP splits a prompt into before it looks for pieces.
        """
        encoding = self._encode(text)
        words: dict[int, list[int]] = {}  # number of the word -> positions of its pieces
        for position, word in enumerate(encoding.word_ids()):
            words.setdefault(word, []).append(position)
        ids, spans = encoding["input_ids"], encoding["offset_mapping"]
        return [
            (text[spans[at[0]][0] : spans[at[-1]][1]], [ids[i] for i in at])
            for at in words.values()
        ]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each piece of the text, uncut, begins and ends in it, in letters."""
        return self._encode(text)["offset_mapping"]

    def cut_tail(self, text: str) -> str:
        """The end of the text that the model never sees, as typed; "" where all of it fits."""
        spans = self._encode(text)["offset_mapping"]
        return text[spans[ROOM][0] :] if len(spans) > ROOM else ""

    def decode(self, ids: torch.Tensor | list[int]) -> str:
        """The text of one row of ids, lower case, a space after each word, start and end left out.

        ValueError for an id outside 0..49407 or for more than one row.
        """
        ids = torch.as_tensor(ids, dtype=torch.long)
        if ids.ndim != 1:
            raise ValueError(f"decode takes one row of ids, not {list(ids.shape)}: try ids[0].")
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < VOCABULARY:
            raise ValueError(f"Token ids lie in 0..{VOCABULARY - 1}, but these do not: {ids}.")
        return self._clip.decode(ids.tolist(), skip_special_tokens=True)

    def _encode(self, text: str):
        """transformers' encoding of the whole text: ids, places in the text, word numbers."""
        if not isinstance(text, str):
            raise TypeError(_not_text(text))
        text = text.encode("utf-8", "replace").decode()  # half a surrogate pair becomes "?"
        return self._clip(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )


def _check_vocabulary(clip) -> None:
    """Refuse a wrong vocabulary, which would give ids without complaint and a senseless picture."""
    wanted = {"size": VOCABULARY, "start": START, "end": END, **EXAMPLES}
    found = {"size": len(clip), "start": clip.bos_token_id, "end": clip.eos_token_id}
    found |= {text: clip(text, add_special_tokens=False)["input_ids"] for text in EXAMPLES}
    for what in wanted:
        if found[what] != wanted[what]:
            raise ValueError(
                f"This is not the vocabulary of Stable Diffusion 1.x: its {what!r} is "
                f"{found[what]}, not {wanted[what]}. Use the `tokenizer` folder of an SD 1.x "
                "model, or Tokenizer.load() for the bundled one."
            )


def _not_text(value) -> str:
    return f"A prompt is a string or a list of strings, not {type(value).__name__}: {value!r:.80}."
