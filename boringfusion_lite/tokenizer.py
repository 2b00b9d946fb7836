"""From a prompt to numbers: CLIP's byte-pair encoding. Built by hand in notebook 01.

    >>> tokenizer = Tokenizer.load()
    >>> tokenizer("photo of a couch, photorealistic")        # LongTensor [1, 77]
    tensor([[49406,  1125,   539,   320, 12724,   267,  1153, 16157, 49407, 49407, ... 49407]])

A prompt is lower-cased, cut into words, and every word into the longest pieces that CLIP's merges
allow. The row then reads: start, up to 75 pieces, end, and end again until there are 77 ids. (SD
2.x fills up with id 0 instead, which is "!": its folder says so, and its text encoder expects it.)

The encoding itself is done by the `tokenizers` library, on files that lie in the model's folder.
transformers' `CLIPTokenizer` stands on the same one and gives the same ids, but importing all of
transformers takes as long as drawing a picture. Left out: OpenAI's own tokenizer first repairs
broken Unicode and HTML entities in the text; so do neither diffusers nor we, and for plain text it
makes no difference.
"""

import json
from pathlib import Path
from typing import NamedTuple

import tokenizers
import torch
from tokenizers import decoders, normalizers, pre_tokenizers

from .runtime import bundled_folder

LENGTH = 77  # ids in a row, start and end included
ROOM = LENGTH - 2  # pieces of the prompt that fit between them
VOCABULARY = 49_408
START, END = 49406, 49407  # <|startoftext|> and <|endoftext|>; in SD 1.x END also fills the row up
WORD = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
EXAMPLES = {  # every vocabulary is tried on these
    "photo of a couch, photorealistic": [1125, 539, 320, 12724, 267, 1153, 16157],
    "jekyll": [49405],  # the last of the 48,894 merges
}


class Piece(NamedTuple):
    """One token: its text in the vocabulary ("couch</w>": `</w>` ends a word) and its id."""

    text: str
    id: int


class Encoding(NamedTuple):
    """A text in pieces, uncut: each one's id, its place in the text, and the number of its word."""

    ids: list[int]
    tokens: list[str]
    spans: list[tuple[int, int]]
    words: list[int]


class Tokenizer:
    """Prompts to ids [B, 77] and back, with CLIP's vocabulary of 49,408 tokens."""

    def __init__(self, engine: tokenizers.Tokenizer, pad: int = END):
        """`engine` cuts and counts; `pad` fills a row up, END in SD 1.x and 0 in SD 2.x.

        ValueError where the engine's vocabulary is not CLIP's.
        """
        self.engine, self.pad = engine, pad
        self._check_vocabulary()

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
        try:
            engine, pad = clip_engine(folder), pad_token(folder)
        except Exception as error:  # the Rust reader raises bare Exceptions
            raise ValueError(
                f"The tokenizer files in {folder} cannot be read ({error}). They are probably cut "
                "short or damaged: copy them again."
            ) from error
        engine.add_special_tokens([pad])  # it is there already, but now counts as a whole word
        return cls(engine, engine.token_to_id(pad))

    def __call__(self, prompt: str | list[str]) -> torch.LongTensor:
        """Ids [B, 77] of one prompt (B = 1) or of a list; pieces beyond 75 are cut off.

        What was cut is shown by `cut_tail`. TypeError for anything but strings.
        """
        prompts = [prompt] if isinstance(prompt, str) else prompt
        if not isinstance(prompts, list | tuple):
            raise TypeError(_not_text(prompts))
        rows = [self._encode(text).ids[:ROOM] for text in prompts]
        rows = [[START, *ids, END, *[self.pad] * (ROOM - len(ids))] for ids in rows]
        return torch.tensor(rows, dtype=torch.long).reshape(-1, LENGTH)

    def pieces(self, text: str) -> list[Piece]:
        """Every piece of the text, uncut, without start and end."""
        encoding = self._encode(text)
        return [Piece(*pair) for pair in zip(encoding.tokens, encoding.ids)]

    def words(self, text: str) -> list[tuple[str, list[int]]]:
        """The words of the text as they were typed, each with its ids, uncut.

        A word is a run of letters, one digit, a run of other signs, or an ending such as "'s":
        what CLIP splits a prompt into before it looks for pieces.
        """
        ids, _, spans, numbers = self._encode(text)
        words: dict[int, list[int]] = {}  # number of the word -> positions of its pieces
        for position, word in enumerate(numbers):
            words.setdefault(word, []).append(position)
        return [
            (text[spans[at[0]][0] : spans[at[-1]][1]], [ids[i] for i in at])
            for at in words.values()
        ]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each piece of the text, uncut, begins and ends in it, in letters."""
        return self._encode(text).spans

    def cut_tail(self, text: str) -> str:
        """The end of the text that the model never sees, as typed; "" where all of it fits."""
        spans = self.spans(text)
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
        text = self.engine.decode(ids.tolist(), skip_special_tokens=True)
        return text.replace("</w>", " ").strip()

    def _encode(self, text: str) -> Encoding:
        """The whole text in pieces, without start and end."""
        if not isinstance(text, str):
            raise TypeError(_not_text(text))
        text = text.encode("utf-8", "replace").decode()  # half a surrogate pair becomes "?"
        found = self.engine.encode(text, add_special_tokens=False)
        return Encoding(found.ids, found.tokens, found.offsets, found.word_ids)

    def _check_vocabulary(self) -> None:
        """Refuse a wrong one, which would give ids without complaint and a senseless picture."""
        wanted = {"size": VOCABULARY, "start": START, "end": END, **EXAMPLES}
        found = {"size": self.engine.get_vocab_size()}
        found |= {"start": self.engine.token_to_id("<|startoftext|>")}
        found |= {"end": self.engine.token_to_id("<|endoftext|>")}
        found |= {text: self._encode(text).ids for text in EXAMPLES}
        for what in wanted:
            if found[what] != wanted[what]:
                raise ValueError(
                    f"This is not the vocabulary of Stable Diffusion 1.x: its {what!r} is "
                    f"{found[what]}, not {wanted[what]}. Use the `tokenizer` folder of an SD 1.x "
                    "model, or Tokenizer.load() for the bundled one."
                )


def clip_engine(folder: Path) -> tokenizers.Tokenizer:
    """CLIP's way from text to pieces: Unicode in one form, lower case, words, bytes, merges."""
    if (folder / "tokenizer.json").is_file():
        engine = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        engine.no_padding()
        engine.no_truncation()
        return engine
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    end = "<|endoftext|>"
    model = tokenizers.models.BPE.from_file(*files, end_of_word_suffix="</w>", unk_token=end)
    engine = tokenizers.Tokenizer(model)
    one_space = normalizers.Replace(tokenizers.Regex(r"\s+"), " ")
    engine.normalizer = normalizers.Sequence(
        [normalizers.NFC(), one_space, normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(tokenizers.Regex(WORD), behavior="removed", invert=True)
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.pre_tokenizer = pre_tokenizers.Sequence([words, letters])
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens(["<|startoftext|>", end])
    return engine


def pad_token(folder: Path) -> str:
    """What the folder's settings fill rows up with; CLIP's end token where they do not say.

    In SD 2.1 the two files disagree, and the first one counts.
    """
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            token = json.loads((folder / name).read_text("utf-8")).get("pad_token")
            if token is not None:
                return token["content"] if isinstance(token, dict) else token
    return "<|endoftext|>"


def _not_text(value) -> str:
    return f"A prompt is a string or a list of strings, not {type(value).__name__}: {value!r:.80}."
