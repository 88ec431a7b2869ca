"""The page is, byte for byte, the one that was looked at last."""

from __future__ import annotations

import golden_page


def test_the_page_is_the_golden_one() -> None:
    wanted, found = golden_page.PAGE.read_text(encoding="utf-8"), golden_page.content()
    different = [
        pair for pair in zip(wanted.splitlines(), found.splitlines(), strict=False) if pair[0] != pair[1]
    ]
    assert not different, f"if this is meant: {golden_page.COMMAND}"
    assert wanted == found
