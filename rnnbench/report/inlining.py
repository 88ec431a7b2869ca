"""A panel's SVG made part of an HTML page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from rnnbench.report.panels import GRID, INK, MUTED, Panel

SVG_NAMESPACE = "http://www.w3.org/2000/svg"


def inline(panel: Panel) -> str:
    """The SVG for an HTML page: unique ids, a text alternative, ink and grid in the page's colours."""
    ElementTree.register_namespace("", SVG_NAMESPACE)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(panel.svg)
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{panel.name}-{value}")
            elif key.endswith("href"):
                element.set(key, value.replace("#", f"#{panel.name}-", 1))
            elif key in ("style", "clip-path"):
                element.set(key, _themed(value.replace("url(#", f"url(#{panel.name}-")))
    for metadata in root.findall(f"{{{SVG_NAMESPACE}}}metadata"):
        root.remove(metadata)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-label", panel.alt)
    return ElementTree.tostring(root, encoding="unicode")


def _themed(style: str) -> str:
    style = re.sub(r"font: (.*?)(\d+px) [^;]*", r"font: \1\2 system-ui, sans-serif", style)
    style = style.replace("fill: #ffffff", "fill: none")
    return style.replace(INK, "var(--ink)").replace(GRID, "var(--line)").replace(MUTED, "var(--muted)")
