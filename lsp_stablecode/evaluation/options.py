"""The command line of ``eval repo``; imports nothing that takes time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lsp_stablecode.bench.options import positive


def add_repository(
    kinds: argparse._SubParsersAction[argparse.ArgumentParser],
    parents: Sequence[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add ``repo`` to the kinds of evaluation and return its parser."""
    parser: argparse.ArgumentParser = kinds.add_parser(
        "repo",
        parents=list(parents),
        help="your own files, in any language: the server and the raw model",
        description="Cut your own files where somebody may have been typing, ask the "
        "server over stdio and the model alone, and compare with what stands there: "
        "exact lines, keystrokes saved, whether it parses. Nothing is changed.",
    )
    parser.add_argument("place", metavar="PATH", help="a folder or a file")
    parser.add_argument(
        "--cuts", type=positive, default=200, metavar="N", help="how many (200)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="which ones (0)"
    )
    parser.add_argument(
        "--language",
        action="append",
        metavar="ID",
        help="LSP language id, such as python; more than once for several",
    )
    parser.add_argument(
        "--files", type=positive, metavar="N", help="from at most N files a language"
    )
    parser.add_argument(
        "--places",
        metavar="A,B",
        help="end-of-line, call, after-opener, empty-line, mid-identifier (all "
        "these), cross-file (with --open)",
    )
    parser.add_argument(
        "--open",
        type=int,
        choices=range(33),
        default=0,
        metavar="N",
        help="open the N nearest files of the same language beside each cut (0)",
    )
    parser.add_argument(
        "--path",
        choices=("server", "raw", "healed", "both"),
        default="both",
        help="ask the server, the raw model, or both (default); healed: the raw "
        "model with token healing and nothing else",
    )
    parser.add_argument(
        "--trigger",
        choices=("invoked", "automatic"),
        default="automatic",
        help="ask the server as while typing (default) or as by hand",
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="a setting by its name on the wire, as in context=false",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write all answers and figures to FILE"
    )
    parser.add_argument(
        "--report",
        metavar="FILE.html",
        help="write a page with pictures; it holds lines of your source",
    )
    return parser
