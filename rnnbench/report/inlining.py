"""A panel's SVG made part of an HTML page, whose policy forbids style attributes: each becomes a class.

What is drawn stays; what only a program that edits figures needs (names, empty groups, millionths of a point)
is left out, for a page holds many panels.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from rnnbench.report.panels import COLOURS, GRID, INK, MUTED, Panel, series_of

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
GROUP, TEXT = (f"{{{SVG_NAMESPACE}}}{name}" for name in ("g", "text"))
PLACES = ("d", "x", "y", "width", "height")
"""Attributes that hold numbers of points."""
PALETTE = {colour.lower(): f"var(--c{index})" for index, colour in enumerate(COLOURS)} | {
    INK: "var(--ink)", GRID: "var(--line)", MUTED: "var(--muted)"
}  # fmt: skip


class Looks(dict[str, str]):
    """Declarations -> the class that stands for them, over all panels of a page."""

    def __missing__(self, declarations: str) -> str:
        self[declarations] = f"f{len(self)}"
        return self[declarations]

    @property
    def rules(self) -> str:
        """CSS."""
        return "".join(f".{name}{{{declarations}}}\n" for declarations, name in self.items())


def inline(panel: Panel, looks: Looks) -> str:
    """The SVG for an HTML page: unique ids, a text alternative, colours of the page, light or dark.

    What belongs to one line says whose in ``data-series``. Places are cut to hundredths of a point.
    """
    ElementTree.register_namespace("", SVG_NAMESPACE)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(panel.svg)
    wanted = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", panel.svg.decode()))
    for element in root.iter():
        for key, value in [*element.attrib.items()]:
            if key == "id":
                _name(element, panel, value, wanted)
            elif key in PLACES:
                element.set(key, _short(value))
            elif key.endswith("href"):
                element.set(key, value.replace("#", f"#{panel.name}-", 1))
            elif key == "clip-path":
                element.set(key, _local(value, panel))
            elif key == "transform" and value.startswith("rotate(-0 "):
                del element.attrib[key]
            elif key == "style":
                del element.attrib[key]
                element.set("class", looks[_themed(_local(value, panel))])
    for parent in root.findall(f".//{{{SVG_NAMESPACE}}}style/.."):
        for sheet in parent.findall(f"{{{SVG_NAMESPACE}}}style"):
            parent.remove(sheet)
    for metadata in root.findall(f"{{{SVG_NAMESPACE}}}metadata"):
        root.remove(metadata)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    _unwrap(root)
    root.set("role", "img")
    root.set("aria-label", panel.alt)
    return ElementTree.tostring(root, encoding="unicode")


def _name(element: ElementTree.Element, panel: Panel, value: str, wanted: set[str]) -> None:
    series = series_of(value)
    if value in wanted:
        element.set("id", f"{panel.name}-{value}")
        return
    del element.attrib["id"]
    if series is not None:
        element.set("data-series", series)


def _unwrap(element: ElementTree.Element) -> None:
    """Only what is drawn: groups that say nothing give way to what they hold, and no space between tags."""
    inside: list[ElementTree.Element] = []
    for child in element:
        child.tail = None
        if child.tag != TEXT:
            _unwrap(child)
        inside += child if child.tag == GROUP and not child.attrib else [child]
    element[:] = inside
    element.text = None


def _short(places: str) -> str:
    """The numbers of a path with two decimals, and no more space than tells them apart."""
    return re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r" *([A-Za-z]) *", r"\1", places))


def _local(value: str, panel: Panel) -> str:
    return value.replace("url(#", f"url(#{panel.name}-")


def _themed(style: str) -> str:
    style = re.sub(r"(font: .*?\d+px|font-family:) [^;]*", r"\1 system-ui, sans-serif", style)
    style = style.replace("fill: #ffffff", "fill: none")
    for colour, variable in PALETTE.items():
        style = style.replace(colour, variable)
    return style
