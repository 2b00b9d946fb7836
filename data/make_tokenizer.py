"""Write `tiny-sd/tokenizer/` from OpenAI's list of CLIP merges. Run once; the result is committed.

    python data/make_tokenizer.py [bpe_simple_vocab_16e6.txt.gz]

The list is part of https://github.com/openai/CLIP (MIT licence, see tiny-sd/tokenizer/LICENSE).
Without an argument, pip downloads the source package `openai-clip` 1.0.1 and the list is taken out
of it. Either way its sha256 must be the one below, so this is the vocabulary that every Stable
Diffusion 1.x model was trained with. Running the script again writes the same bytes.

What a token id means is decided by nothing but the order of this list:

    0 .. 255          one character for each byte, printable bytes first
    256 .. 511        the same characters at the end of a word: "a</w>"
    512 .. 49405      one token for each of the 48,894 merges, in the order they were learned
    49406, 49407      <|startoftext|> and <|endoftext|>
"""

import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from boringfusion_lite import bpe

FOLDER = Path(__file__).parent / "tiny-sd" / "tokenizer"
PACKAGE = "openai-clip==1.0.1"
MEMBER = "clip/bpe_simple_vocab_16e6.txt.gz"
SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
MERGES = 48_894  # of the 262,144 lines of the file, CLIP uses the first ones
START, END = bpe.SPECIAL


def download() -> bytes:
    """The gzipped list, out of the source package (1.4 MB, fetched by pip)."""
    with tempfile.TemporaryDirectory() as folder:
        command = "-m pip download --quiet --no-deps --no-binary :all: --dest".split()
        subprocess.run([sys.executable, *command, folder, PACKAGE], check=True)
        with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as archive:
            name = next(name for name in archive.getnames() if name.endswith(MEMBER))
            return archive.extractfile(name).read()


def read_merges(packed: bytes) -> list[str]:
    """The pairs that CLIP's byte-pair encoding joins ("p h"), first learned first."""
    found = hashlib.sha256(packed).hexdigest()
    if found != SHA256:
        raise SystemExit(f"This is not CLIP's list of merges: sha256 {found}, not {SHA256}.")
    lines = gzip.decompress(packed).decode("utf-8").split("\n")
    return lines[1 : MERGES + 1]  # line 0 says which version the list is


def vocabulary(merges: list[str]) -> dict[str, int]:
    """Token -> id, 49,408 of them."""
    vocab = bpe.vocabulary(merge.split(" ") for merge in merges)
    assert len(vocab) == len(merges) + 514 == 49_408, "a token occurs twice"
    return vocab


def main() -> None:
    packed = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else download()
    merges = read_merges(packed)
    specials = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **specials}
    vocab = json.dumps(vocabulary(merges), ensure_ascii=False, separators=(",", ":"))
    files = {
        "vocab.json": vocab,
        "merges.txt": "\n".join(["#version: 0.2", *merges]),
        "tokenizer_config.json": json.dumps(config, indent=2),
        "special_tokens_map.json": json.dumps(specials, indent=2),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (FOLDER / name).write_bytes(f"{text}\n".encode())
        print(f"{name:24} {len(text.encode()) + 1:>9,} bytes")


if __name__ == "__main__":
    main()
