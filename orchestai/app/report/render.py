"""Sections of a report as Markdown, and as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #1a202c }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto; margin: 1rem 0 }
th, td { border: 1px solid #cbd5e0; padding: .25rem .6rem; text-align: left; vertical-align: top }
th { background: #edf2f7 } img { max-width: 100% } nav a { margin-right: 1rem }
"""


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Attributes:
        title: Heading.
        text: What to know before reading the numbers.
        rows: A table; all rows have the columns of the first. Empty for none.
        pictures: Names of the pictures that belong here.
    """

    title: str
    text: str = ""
    rows: Sequence[Mapping[str, str]] = ()
    pictures: Sequence[str] = field(default_factory=tuple)


def to_markdown(title: str, sections: Sequence[Section], *, pictures: bool = True) -> str:
    """Return sections as Markdown; pictures as links to the files beside it, or not at all."""
    lines = [f"# {title}", ""]
    for section in sections:
        lines += [f"## {section.title}", ""]
        lines += [section.text, ""] if section.text else []
        if section.rows:
            names = list(section.rows[0])
            lines += ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
            lines += ["| " + " | ".join(_cell(row.get(name, "")) for name in names) + " |" for row in section.rows]
            lines.append("")
        if pictures and section.pictures:
            lines += [*(f"![{name}]({name})" for name in section.pictures), ""]
    return "\n".join(lines)


def to_html(title: str, sections: Sequence[Section], pictures: Mapping[str, bytes]) -> str:
    """Return sections as one page, its pictures inside it; every text is escaped."""
    links = "".join(f'<a href="#s{place}">{escape(each.title)}</a>' for place, each in enumerate(sections))
    parts = [
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n<nav>{links}</nav>"
    ]
    for place, section in enumerate(sections):
        parts.append(f'<h2 id="s{place}">{escape(section.title)}</h2>')
        if section.text:
            parts.append(f"<p>{escape(section.text)}</p>")
        if section.rows:
            names = list(section.rows[0])
            parts.append(_html_row("th", names))
            parts[-1] = f"<table><thead>{parts[-1]}</thead><tbody>"
            parts += [_html_row("td", [row.get(name, "") for name in names]) for row in section.rows]
            parts.append("</tbody></table>")
        for name in section.pictures:
            data = base64.b64encode(pictures[name]).decode()
            parts.append(f'<p><img alt="{escape(name)}" src="data:image/png;base64,{data}"></p>')
    parts.append("</body></html>\n")
    return "\n".join(parts)


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
