"""``python -m lsp_stablecode``."""

import sys

from lsp_stablecode.cli import main

sys.exit(main())
