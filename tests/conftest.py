"""How property tests run: no deadline, for a busy machine must fail none; in CI always the same examples."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("rnnbench", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("rnnbench")
