"""The command line: parse, dispatch, and turn errors into a sentence and a code.

Exit codes: 0 done, 1 a named error (its sentence on standard error), 2 wrong usage,
130 interrupted. Each subcommand's module is imported only when it runs, so that
``serve`` answers ``initialize`` quickly.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lsp_stablecode import __version__
from lsp_stablecode.bench.options import above_zero, add_options, positive
from lsp_stablecode.errors import SettingsError
from lsp_stablecode.evaluation.options import add_repository
from lsp_stablecode.settings import Settings, parse_settings
from model import StablecodeError

# How long the engine process waits for another editor after the last one.
_LINGER_S = 60.0
_LOG_LEVELS = ("error", "warning", "info", "debug")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = make_parser()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["--stdio"]:
        # All that some editors let a server's command line be is a program and this.
        given.insert(0, "serve")
    options = parser.parse_args(given)
    run = getattr(options, "run", None)
    if run is None:
        parser.print_help(sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A suggestion may hold what a Windows console or a C locale cannot write.
            stream.reconfigure(errors="replace")
    try:
        settings = settings_from(options)
        configure_logging(settings.log_level)
        return int(run(options, settings))
    except StablecodeError as error:
        print(f"lsp-stablecode: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lsp-stablecode: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output (head, less) has gone; that is no error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # A bug, or a disk or library in a state nobody thought of.
        logging.getLogger(__name__).debug("unexpected", exc_info=True)
        print(
            f"lsp-stablecode: {type(error).__name__}: {error} (unexpected; run again "
            "with --log-level debug, and report what it prints)",
            file=sys.stderr,
        )
        return 1


def make_parser() -> argparse.ArgumentParser:
    """Return the parser with all subcommands."""
    parser = argparse.ArgumentParser(
        prog="lsp-stablecode",
        description="Code completion from a local model, as a language server.",
        epilog="Run `lsp-stablecode doctor` when something does not work.",
    )
    parser.add_argument(
        "--version", action="version", version=f"lsp-stablecode {__version__}"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    common = _common_options()
    trace = _trace_option()

    serve = commands.add_parser(
        "serve",
        parents=[common, trace],
        help="run the language server (standard input and output)",
        description="Run the language server. Editors start it; standard output "
        "carries the protocol and nothing else, the log goes to standard error. "
        "Settings sent by the editor override the options given here.",
    )
    serve.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        help="listen there for one editor instead of using standard input",
    )
    serve.add_argument(
        "--stdio",
        action="store_true",
        help="use standard input, as without; many editors say so",
    )
    serve.add_argument(
        "--shared",
        action="store_true",
        help="share one engine process with your other editors",
    )
    serve.add_argument(
        "--metrics",
        metavar="HOST:PORT",
        help="serve metrics for Prometheus there, on a loopback address",
    )
    serve.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="write all messages to FILE, source text included, for `replay`",
    )
    serve.set_defaults(run=_lazy("serve"))

    # Not for people, so without a help text: `serve --shared` starts it.
    hub = commands.add_parser("hub")
    hub.add_argument("--name", default="")
    hub.add_argument("--version", default="")
    hub.add_argument("--linger", type=float, default=_LINGER_S)
    hub.add_argument("key", nargs="*")
    hub.set_defaults(run=_lazy("hub"))

    complete = commands.add_parser(
        "complete",
        parents=[common, trace],
        help="complete a file at a position",
        description="Complete a file at a position, as an editor would ask for it, "
        "and print the text to insert.",
    )
    complete.add_argument(
        "place", metavar="PATH:LINE:COLUMN", help="line and column count from 1"
    )
    complete.add_argument(
        "--json", action="store_true", help="print one JSON object with everything"
    )
    complete.add_argument(
        "--explain",
        action="store_true",
        help="say why the text ends where it does, what was removed, what it cost",
    )
    complete.set_defaults(run=_lazy("complete"))

    models = commands.add_parser(
        "models",
        help="list, fetch, find and verify models",
        description="List, fetch, find and verify models. NAME is a catalogue name, "
        "a directory, a GGUF file or a Hugging Face repository (owner/name).",
    )
    actions = models.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="known models, and which are here")
    listing.add_argument("--json", action="store_true", help="print JSON")
    for action, text in (
        ("pull", "download a model's weights (its licence is shown by `list`)"),
        ("path", "print where a model's weights are"),
        ("verify", "check a model's files"),
    ):
        actions.add_parser(action, help=text).add_argument("name", metavar="NAME")
    for action, sub in actions.choices.items():
        _add_log_options(sub)
        sub.set_defaults(run=_lazy("models"), action=action)

    status = commands.add_parser(
        "status",
        help="what the engine that editors share is at",
        description="Print model, device, memory, editors, speed and delays of the "
        "engine that editors share (`serve --shared`). The exit code is 1 if none "
        "runs.",
    )
    status.add_argument("--json", action="store_true", help="print JSON")
    _add_log_options(status)
    status.set_defaults(run=_lazy("status"))

    report = commands.add_parser(
        "report",
        parents=[common],
        help="gather what a bug report needs, and no source text",
        description="Gather versions, settings, what `doctor` finds, and the last "
        "outcomes of running engines: names, counts and times, no source text.",
    )
    report.add_argument("-o", "--output", metavar="FILE", help="write there")
    report.set_defaults(run=_lazy("report"))

    replay = commands.add_parser(
        "replay",
        parents=[common, trace],
        help="play a recorded session again and compare the answers",
        description="Play a session that `serve --record FILE` has recorded at a "
        "fresh server, at its own speed, and compare what is suggested. Options given "
        "here outrank the recorded settings; where text and the key go, and whether "
        "anything is fetched, is not taken from a recording.",
    )
    replay.add_argument("recording", metavar="FILE")
    replay.add_argument(
        "--speed",
        type=above_zero,
        default=1.0,
        metavar="X",
        help="play X times as fast (default: 1)",
    )
    replay.add_argument("--json", action="store_true", help="print JSON")
    replay.add_argument(
        "--check", action="store_true", help="exit with 1 where answers differ"
    )
    replay.add_argument(
        "--with-recorded-server",
        action="store_true",
        help="send text, and the key, to the completion server that the recorded "
        "settings name, and fetch models if they allow it",
    )
    replay.set_defaults(run=_lazy("replay"))

    listing = commands.add_parser(
        "settings",
        help="every setting, its default and what it does",
        description="Print every setting that an editor can send, its default, what "
        "it may hold and what it does.",
    )
    listing.add_argument(
        "--json-schema",
        action="store_true",
        help="print a JSON Schema, for editors that check settings",
    )
    _add_log_options(listing)
    listing.set_defaults(run=_lazy("settings"))

    doctor = commands.add_parser(
        "doctor",
        parents=[common],
        help="check this installation and say what to do about what is missing",
        description="Print versions, devices, memory and models, complete one line, "
        "and say what to do about what is missing.",
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(run=_lazy("doctor"))

    demo = commands.add_parser(
        "demo",
        parents=[common, trace],
        help="watch the server complete a real file",
        description="Start the language server, type into a file as an editor does, "
        "and show what it suggests and how long that takes.",
    )
    demo.add_argument("--picture", metavar="FILE.svg", help="also save as a picture")
    demo.set_defaults(run=_lazy("demo"))

    evaluate = commands.add_parser(
        "eval",
        help="measure the quality of completions",
        description="Measure the quality of completions.",
    )
    kinds = evaluate.add_subparsers(title="evaluations", metavar="KIND", required=True)
    infilling = kinds.add_parser(
        "infilling",
        parents=[common, trace],
        help="HumanEval infilling: the server and the raw model",
        description="HumanEval infilling (Bavarian et al. 2022): mask lines, runs of "
        "lines or spans of each canonical solution, ask for them through the "
        "server over stdio and from the raw model, and compare: exact match, and "
        "pass@1 by running the program.",
    )
    infilling.add_argument(
        "--benchmark",
        choices=("single-line", "multi-line", "random-span"),
        default="single-line",
        help="what is masked (default: single-line; they have 1033, 5815 and 1640 "
        "tasks)",
    )
    infilling.add_argument(
        "--every", type=positive, default=1, metavar="N", help="every Nth task only"
    )
    infilling.add_argument(
        "--order",
        choices=("auto", "psm", "spm", "both"),
        default="auto",
        help="prompt order; both is one run in each (default: auto)",
    )
    infilling.add_argument(
        "--path",
        choices=("server", "raw", "both"),
        default="both",
        help="ask the server, the raw model, or both (default)",
    )
    infilling.add_argument(
        "--trigger",
        choices=("invoked", "automatic"),
        default="invoked",
        help="ask the server as by hand (default) or as while typing",
    )
    infilling.add_argument(
        "--json", metavar="FILE", help="write all tasks and figures to FILE"
    )
    infilling.set_defaults(run=_lazy("infilling"))
    add_repository(kinds, [common, trace]).set_defaults(run=_lazy("repository"))
    calibration = kinds.add_parser(
        "calibration",
        help="fit how sure the server is to what `eval repo` found to be right",
        description="Fit the confidence of suggestions to what `eval repo --set "
        "leastConfidence=0 --json` found to be right, and print the coefficients and "
        "how far they can be relied upon.",
    )
    calibration.add_argument(
        "results", nargs="+", metavar="RESULT.json", help="what `eval repo` wrote"
    )
    calibration.add_argument(
        "--json", metavar="FILE", help="write coefficients and figures to FILE"
    )
    _add_log_options(calibration)
    calibration.set_defaults(run=_lazy("calibration"))

    bench = commands.add_parser(
        "bench",
        help="measure speed, beside this machine's limits and other programs",
        description="Measure speed, beside this machine's limits and other programs. "
        "Leave the machine alone meanwhile: everything else on it shows.",
    )
    kinds = bench.add_subparsers(title="benchmarks", metavar="KIND", required=True)
    for kind, text in (
        ("engine", "prefill, decoding, verification, starts and memory"),
        ("keys", "from a key to its suggestion, while a real file is typed"),
        ("typing", "real typing at human speed: delays, requests, keys saved"),
        ("shared", "several editors that share one engine: delays, fairness, memory"),
        ("drafts", "what guessing tokens ahead gains"),
    ):
        sub = kinds.add_parser(kind, parents=[common], help=text, description=text)
        add_options(sub, kind)
        sub.set_defaults(run=_lazy("bench"), kind=kind)
    return parser


def parse_serve(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the options of ``serve``. Raises ``SettingsError`` for wrong ones."""
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            return make_parser().parse_args(["serve", *arguments])
    except SystemExit as error:
        said = message.getvalue().strip().splitlines()[-1:]
        raise SettingsError(" ".join(said) or "Wrong options.") from error


def settings_from(options: argparse.Namespace) -> Settings:
    """Return the settings that the common options ask for.

    Raises ``SettingsError``.
    """
    given = {
        key: value
        for key, name in (
            ("model", "model"),
            ("device", "device"),
            ("dtype", "dtype"),
            ("cacheDtype", "cache_dtype"),
            ("threads", "threads"),
            ("contextTokens", "context_tokens"),
            ("backend", "backend"),
            ("endpoint", "endpoint"),
            ("remoteModel", "remote_model"),
            ("apiKeyFile", "api_key_file"),
            ("logLevel", "log_level"),
        )
        if (value := getattr(options, name, None)) is not None
    }
    settings, problems = parse_settings(given)
    if problems:
        # Here nothing else is used instead: the command ends.
        what = problems[0].message.partition("; using ")[0].rstrip(".")
        raise SettingsError(f"{what}.", hint="See --help.")
    return settings


def configure_logging(level: str) -> None:
    """Log to standard error; standard output belongs to the protocol."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # pygls logs messages with their text, and its errors with parameters.
    logging.getLogger("pygls").setLevel(logging.CRITICAL)
    quiet = ("filelock", "httpx", "httpx2", "httpcore", "httpcore2", "urllib3")
    for name in (*quiet, "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _common_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        metavar="NAME",
        help="catalogue name, directory, GGUF file or repository (default: auto)",
    )
    group.add_argument(
        "--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps"
    )
    group.add_argument(
        "--dtype",
        metavar="DTYPE",
        help="auto, bfloat16, float16, float32, int8 or int4",
    )
    group.add_argument("--cache-dtype", metavar="DTYPE", help="auto, bfloat16 or int8")
    group.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="processor threads (default: auto)",
    )
    group.add_argument(
        "--context-tokens",
        type=positive,
        metavar="N",
        help="tokens that prompt and completion may hold together",
    )
    remote = parser.add_argument_group("model on a server")
    remote.add_argument(
        "--backend", metavar="NAME", help="local (default) or openai: ask a server"
    )
    remote.add_argument(
        "--endpoint", metavar="URL", help="its address, such as http://gpu-box:8000/v1"
    )
    remote.add_argument(
        "--remote-model",
        metavar="NAME",
        help="which of its models, by its name there (default: the first)",
    )
    remote.add_argument(
        "--api-key-file",
        metavar="FILE",
        help="holds the key (default: the variable LSP_STABLECODE_API_KEY)",
    )
    _add_log_options(parser)
    return parser


def _trace_option() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="append one JSON line per request to FILE (no source text)",
    )
    return parser


def _add_log_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("logging")
    group.add_argument(
        "--log-level", choices=_LOG_LEVELS, help="what goes to standard error"
    )


def _lazy(command: str) -> Callable[[argparse.Namespace, Settings], int]:
    def run(options: argparse.Namespace, settings: Settings) -> int:
        from importlib import import_module

        module = import_module(f"lsp_stablecode.commands.{command}")
        result: int = module.run(options, settings)
        return result

    return run
