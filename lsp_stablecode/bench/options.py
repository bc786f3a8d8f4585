"""The options of ``bench``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser, kind: str) -> None:
    """Add what one kind of benchmark takes."""
    group = parser.add_argument_group("benchmark")
    group.add_argument(
        "--json", metavar="FILE", help="write everything to FILE (- for output)"
    )
    group.add_argument("--picture", metavar="FILE.svg", help="also draw it")
    group.add_argument(
        "--quick", action="store_true", help="a short run that shows that it works"
    )
    if kind in ("typing", "shared"):
        _add_typing_options(parser, group)
        if kind == "shared":
            group.add_argument(
                "--editors",
                type=positive,
                default=8,
                metavar="N",
                help="how many editors share the engine (default: 8)",
            )
        return
    group.add_argument(
        "--repetitions", type=positive, metavar="N", help="how often all is repeated"
    )
    if kind == "drafts":
        return
    group.add_argument(
        "--peer",
        action="append",
        choices=("llama.cpp", "transformers", "none"),
        help="measure only this one beside ours (again for more; default: all)",
    )
    group.add_argument(
        "--llama-batch-tokens",
        type=positive,
        default=2048,
        metavar="N",
        help="llama-server's --batch-size, which bounds its prompts (default: 2048)",
    )
    if kind == "engine":
        group.add_argument(
            "--cold", action="store_true", help="also start without a converted model"
        )
        group.add_argument(
            "--no-start", action="store_true", help="leave out starts and memory"
        )
        return
    group.add_argument(
        "--file",
        action="append",
        type=Path,
        metavar="PATH",
        help="type in the middle of this file (again for more; default: some of "
        "the standard library's)",
    )
    group.add_argument(
        "--prompt-tokens",
        type=positive,
        metavar="N",
        help="tokens around the cursor (default: 1500)",
    )
    group.add_argument(
        "--characters",
        type=positive,
        metavar="N",
        help="characters to type in each file (default: 48)",
    )
    group.add_argument(
        "--card-every",
        type=positive,
        metavar="N",
        help="ask transformers at every Nth key only (default: 12)",
    )
    group.add_argument(
        "--llama-time-limit",
        type=positive,
        metavar="MS",
        help="llama-server's t_max_predict_ms (default: none)",
    )


def _add_typing_options(
    parser: argparse.ArgumentParser, group: argparse._ArgumentGroup
) -> None:
    parser.add_argument(
        "path", type=Path, metavar="PATH", help="a source file, or a folder of them"
    )
    length = group.add_mutually_exclusive_group()
    length.add_argument(
        "--keys", type=positive, metavar="N", help="keys to press (default: 400)"
    )
    length.add_argument(
        "--minutes", type=above_zero, metavar="M", help="type that long instead"
    )
    group.add_argument(
        "--speed",
        type=above_zero,
        default=1.0,
        metavar="X",
        help="type X times as fast as people do (default: 1)",
    )
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the places, gaps, slips and pauses (default: 0)",
    )
    group.add_argument(
        "--language",
        metavar="ID",
        help="LSP language id of the files (default: the most frequent in PATH)",
    )
    group.add_argument(
        "--open",
        type=int,
        default=3,
        metavar="N",
        help="related files opened beside the one that is typed in (default: 3)",
    )
    group.add_argument(
        "--no-context",
        dest="context",
        action="store_false",
        help="without text of other documents in the prompts",
    )


def above_zero(text: str) -> float:
    """Read a number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def positive(text: str) -> int:
    """Read a number of 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
