"""Fetch a real checkpoint from the command line: python -m boringfusion_lite.download sd15

In Python it is `bf.download("sd15")`, from `fetching.py`; this file is only the command.
"""

import argparse
import sys
from pathlib import Path

from .fetching import download, gigabytes
from .sources import SOURCES


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m boringfusion_lite.download",
        description="Fetch a real Stable Diffusion checkpoint, verify it, and print its path. What "
        "was interrupted goes on where it stopped. HF_HOME moves the folder, HF_ENDPOINT the Hub.",
        epilog="then: BORINGFUSION_MODEL=<the path> make lab, or bf.load(<the path>)",
    )
    add = parser.add_argument
    add("name", nargs="?", choices=[*SOURCES], help="which one")
    add("--list", action="store_true", help="show what there is, and fetch nothing")
    add("--folder", type=Path, help="where to (boringfusion-lite in Hugging Face's cache)")
    add("--verify", action="store_true", help="compare the sha256 of a file that is here again")
    args = parser.parse_args(arguments)
    if not args.name and not args.list:
        parser.error(f"which one? {', '.join(SOURCES)}; --list tells more")
    return args


def table() -> str:
    """Name, size, licence, content and first repository of every source, a line each."""
    rows = [
        f"{name:<10} {gigabytes(source.size):>8}  {source.licence:<25} {source.about}\n"
        f"{'':<21}{source.page(source.repositories[0])}"
        for name, source in SOURCES.items()
    ]
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    """0 and the path on stdout; 1 and the reason on stderr; 130 after Ctrl-C."""
    args = parse(arguments)
    if args.list:
        print(table())
        return 0
    try:
        print(download(args.name, args.folder, verify=args.verify))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. What has arrived is kept: the same command goes on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
