"""Fetch a real checkpoint: told before, resumed where it broke off, verified, never half there.

The bytes go into `<file>.partial`, which outlives a lost connection, Ctrl-C and a restart. Only
with the right size and sha256 does it get its name; `<file>.sha256` beside it remembers that.

The Hub's own library asks and transfers. Its `hf_hub_download` alone would not do (version 2.4): it
deletes what has arrived when it is interrupted, compares no sha256, and knows no second source.
"""

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

from .sources import SOURCES, Source

PAUSES = (1, 3, 10)  # seconds before each new attempt after a lost connection
REFUSALS = {  # HTTP status -> what it means here
    401: "the repository is gone, or private",
    403: "it lets only accounts in that have accepted its terms; `hf auth login` signs you in",
    404: "the repository or the file is gone",
    416: "its file is shorter than it should be",
}


def download(name: str, folder: str | Path | None = None, *, verify: bool = False) -> Path:
    """The path of a checkpoint of `SOURCES`, fetched first if it is not here yet.

    folder: by default `boringfusion-lite` in Hugging Face's cache, which HF_HOME moves.
    verify: compare the sha256 of a file that is already here again, not just its size.
    ValueError for an unknown name; OSError without enough room; ConnectionError, which says how
    to get the file by hand, offline or when no repository gives it.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import WeakFileLock

    if name not in SOURCES:
        raise ValueError(f"There is no source {name!r}. Choose one of: {', '.join(SOURCES)}.")
    source = SOURCES[name]
    folder = Path(folder or Path(constants.HF_HOME) / "boringfusion-lite").expanduser()
    target = folder / source.file
    if here := find(source, target, verify):
        return here
    if constants.is_offline_mode():
        raise ConnectionError(f"HF_HUB_OFFLINE is set: no download.\n{by_hand(source, target)}")
    folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(beside(target, ".lock")):  # two notebooks may ask at once
        if not target.exists():
            announce(name, source, target)
            fetch_from_any(source, target)
    return target


def find(source: Source, target: Path, verify: bool) -> Path | None:
    """The file at `target` or in the Hub's cache, if whole. A damaged target is moved aside."""
    from huggingface_hub import try_to_load_from_cache

    if target.is_file():
        full = verify or not is_marked(target, source)
        problem = fault(target, source, full)
        if problem is None:
            if full:
                mark(target, source)
            return target
        aside = beside(target, ".damaged")
        os.replace(target, aside)
        tell(f"{target} {problem}. It now lies at {aside}; you may delete it.")
    for repository in source.repositories:
        cached = try_to_load_from_cache(repository, source.file)
        if isinstance(cached, str) and fault(Path(cached), source, full=verify) is None:
            return Path(cached)
    return None


def fault(file: Path, source: Source, full: bool) -> str | None:
    """What is wrong with the file: its size, or, if looked at in full, its sha256."""
    size = file.stat().st_size
    if size != source.size:
        return f"has {size:,} bytes instead of {source.size:,}"
    if not full:
        return None
    tell(f"checking the sha256 of {file.name} ...")
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    return None if found == source.sha256 else f"has sha256 {found} instead of {source.sha256}"


def is_marked(file: Path, source: Source) -> bool:
    """Was the file's sha256 found right, and has nobody written to it since?"""
    note = beside(file, ".sha256")
    if not note.is_file() or note.stat().st_mtime < file.stat().st_mtime:
        return False
    return note.read_text("utf-8").startswith(source.sha256)


def mark(file: Path, source: Source) -> None:
    """Remember that the sha256 was right, in the format of `sha256sum --check`."""
    try:
        beside(file, ".sha256").write_text(f"{source.sha256}  {file.name}\n", encoding="utf-8")
    except OSError:
        pass  # a folder that may only be read: the file is looked at in full each time


def announce(name: str, source: Source, target: Path) -> None:
    """Size, licence and place, before anything is fetched; OSError where the disk is too small."""
    here = size_of(beside(target, ".partial"))
    free = shutil.disk_usage(target.parent).free
    so_far = f", {gigabytes(here)} of it here already" if here else ""
    tell(f"{name}: {source.about}; {gigabytes(source.size)}{so_far}")
    tell(f"licence: {source.licence}, see {source.page(source.repositories[0])}")
    tell(f"to: {target} ({gigabytes(free)} free)")
    if free < source.size - here:
        raise OSError(
            f"{target.parent} has {gigabytes(free)} free, but {gigabytes(source.size - here)} are "
            "to come. Make room, name another folder, or point HF_HOME at a larger disk."
        )


def fetch_from_any(source: Source, target: Path) -> None:
    """Try the repositories in order until the verified file lies at `target`."""
    partial, problems = beside(target, ".partial"), {}
    for repository in source.repositories:
        tell(f"from: {repository}")
        try:
            fetch(repository, source, partial)
            problem = fault(partial, source, full=True)
            if problem is None:
                os.replace(partial, target)
                mark(target, source)
                return
            partial.unlink()
            problems[repository] = f"its file {problem}; deleted"
        except ConnectionError as error:
            problems[repository] = str(error)
        tell(f"  {problems[repository]}")
    if len(set(problems.values())) == 1:
        told = f" {problems[repository]}"
    else:
        told = "".join(f"\n  {repository}: {problem}" for repository, problem in problems.items())
    kept = f"\n{gigabytes(size_of(partial))} are kept: try again later." if size_of(partial) else ""
    raise ConnectionError(f"No repository gave the file:{told}{kept}\n{by_hand(source, target)}")


def fetch(repository: str, source: Source, partial: Path) -> None:
    """Append to the partial file until it is whole, in as many attempts as bring more bytes.

    ConnectionError with the reason if the repository refuses or is not reached.
    """
    from huggingface_hub import errors, hf_hub_url

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    url = hf_hub_url(repository, source.file, endpoint=endpoint)
    pauses = iter(PAUSES)
    while True:
        before = size_of(partial)
        try:
            return transfer(url, source, partial)
        except errors.GatedRepoError:
            raise ConnectionError(f"{REFUSALS[403]} (gated)") from None
        except errors.HfHubHTTPError as error:
            status = error.response.status_code
            problem = f"{REFUSALS.get(status, 'the server failed')} ({status})"
            if status < 500:
                raise ConnectionError(problem) from None
        except errors.HTTPError as error:  # httpx's: no connection, or a broken one
            problem = f"{type(error).__name__}: {error}"
        except OSError as error:
            if error.errno is not None or isinstance(error, ConnectionError):
                raise  # the disk's, or final
            problem = "its file ended too early"
        here = size_of(partial)
        if here > before:
            pauses = iter(PAUSES)
        pause = next(pauses, None)
        if not here or pause is None:
            raise ConnectionError(problem)
        tell(f"{problem}; going on from {gigabytes(here)} in {pause} s")
        time.sleep(pause)


def transfer(url: str, source: Source, partial: Path) -> None:
    """One attempt: ask what the repository holds, then append what is missing to `partial`."""
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    offered = get_hf_file_metadata(url)
    sha256 = offered.etag if len(offered.etag or "") == 64 else source.sha256  # else a Git hash
    if (offered.size or source.size, sha256) != (source.size, source.sha256):
        raise ConnectionError(f"another file: {offered.size} bytes, sha256 {sha256}")
    if size_of(partial) > source.size:
        partial.unlink()
    with partial.open("ab") as file:
        http_get(
            url,
            file,
            resume_size=file.tell(),
            headers=build_hf_headers(),  # with the reader's token, where there is one
            expected_size=source.size,
            displayed_filename=source.file,
        )


def by_hand(source: Source, target: Path) -> str:
    """What to fetch, from which page, and where to put it."""
    return (
        f"On a computer with a network, get {source.file} ({gigabytes(source.size)}) from\n"
        f"  {source.page(source.repositories[0])}\n"
        f"and put it at (where the next call checks and uses it)\n  {target}"
    )


def beside(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"


def tell(line: str) -> None:
    """To stderr, as progress bars do: the command's stdout is the path alone."""
    print(line, file=sys.stderr)
