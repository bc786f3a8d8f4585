"""``python -m lsp_stablecode``, and what the command ``lsp-stablecode`` runs."""

import sys


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = sys.argv[1:]
    # The command line's own parser takes longer to import than a shared server to
    # start.
    if "--shared" in arguments:
        from lsp_stablecode.shared.serving import is_shared, run

        if is_shared(arguments):
            return run([one for one in arguments if one != "serve"])
    from lsp_stablecode.cli import main as run_command_line

    return run_command_line(arguments)


if __name__ == "__main__":
    sys.exit(main())
