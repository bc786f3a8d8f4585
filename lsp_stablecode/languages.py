"""LSP language identifiers by file name, for when no editor says it."""

from __future__ import annotations

from pathlib import Path

_BY_SUFFIX = {
    ".bash": "shellscript",
    ".c": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cs": "csharp",
    ".css": "css",
    ".cxx": "cpp",
    ".go": "go",
    ".h": "c",
    ".hpp": "cpp",
    ".htm": "html",
    ".html": "html",
    ".java": "java",
    ".js": "javascript",
    ".json": "json",
    ".jsx": "javascriptreact",
    ".kt": "kotlin",
    ".lua": "lua",
    ".md": "markdown",
    ".mjs": "javascript",
    ".php": "php",
    ".pl": "perl",
    ".py": "python",
    ".pyi": "python",
    ".r": "r",
    ".rb": "ruby",
    ".rs": "rust",
    ".scala": "scala",
    ".sh": "shellscript",
    ".sql": "sql",
    ".swift": "swift",
    ".toml": "toml",
    ".ts": "typescript",
    ".tsx": "typescriptreact",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".zsh": "shellscript",
}
_BY_NAME = {"makefile": "makefile", "dockerfile": "dockerfile"}


def language_of(path: Path) -> str:
    """Return the language identifier of a file, or ``plaintext``."""
    by_name = _BY_NAME.get(path.name.lower())
    return by_name or _BY_SUFFIX.get(path.suffix.lower(), "plaintext")
