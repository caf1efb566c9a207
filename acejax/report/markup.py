"""The page's building blocks as HTML text. What is called `text` is escaped here; what is called `html` is markup."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root{color-scheme:light;--ink:#1c2530;--soft:#5b6878;--line:#dde3ea;--good:#00734f;--bad:#b2182b}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:#fff}
h1{font-size:1.6rem;margin:.2rem 0;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2rem 0 .6rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1.1rem 0 .4rem}
p,figcaption{margin:.3rem 0}.soft,figcaption{color:var(--soft);font-size:.88rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:600}.text{text-align:left}tr.last td{font-weight:600}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;font-size:.9rem;margin:.6rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));gap:1rem}
figure{margin:0;padding:.6rem;border:1px solid var(--line);border-radius:8px;min-width:0}
figcaption b{color:var(--ink);font-size:.98rem}img{display:block;width:100%;height:auto}
.notice{padding:.6rem .9rem;border-radius:8px;background:#fff4d6;border:1px solid #ecd48a;margin:.6rem 0}
details{border:1px solid var(--line);border-radius:8px;padding:.5rem .8rem;margin:.5rem 0}
summary{cursor:pointer;overflow-wrap:anywhere}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.82rem;line-height:1.4;background:#f6f8fa;
padding:.6rem;border-radius:6px;max-height:24rem;overflow:auto;margin:.3rem 0}
.correct{color:var(--good);font-weight:600}.wrong,.unjudged{color:var(--bad);font-weight:600}
"""
# No script and no outside address: a page is read wherever it is sent.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, sections: Iterable[str]) -> str:
    """The whole page; sections that are empty are left out."""
    body = "\n".join(filter(None, sections))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n"
        f"{body}\n"
        "</body></html>\n"
    )


def section(title: str, html: str) -> str:
    return f"<h2>{escape(title)}</h2>{html}"


def notice(text: str) -> str:
    """A line that stands out."""
    return f'<p class="notice">{escape(text)}</p>'


def soft(html: str) -> str:
    """A line of explanation, in small grey letters."""
    return f"<p class='soft'>{html}</p>"


def unfolding(summary_html: str, html: str) -> str:
    """A line that opens on a press and shows what is below it."""
    return f"<details><summary>{summary_html}</summary>{html}</details>"


def verbatim(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def grid(cells: Iterable[str]) -> str:
    return f"<div class='grid'>{''.join(cells)}</div>"


def figure(title: str, svg: str | None, caption: str) -> str:
    """A picture with its title and caption; nothing where nothing was drawn."""
    if svg is None:
        return ""
    name = escape(title)
    # As an image, not inline: the ids inside two SVGs would meet in one page.
    source = base64.b64encode(svg.encode()).decode()
    image = f'<img alt="{name}" src="data:image/svg+xml;base64,{source}">'
    words = f"<figcaption><b>{name}</b> {escape(caption)}</figcaption>"
    return f"<figure>{words}{image}</figure>"


def figures(title: str, drawn: Sequence[str], note: str = "") -> str:
    """A section of figures under a note; nothing if none was drawn."""
    if not any(drawn):
        return ""
    words = ""
    if note:
        words = soft(escape(note))
    return section(title, words + grid(drawn))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text: int, marked: Sequence[int] = ()) -> str:
    """A table whose first `text` columns hold words and the others numbers; `marked` rows stand out."""
    body = ""
    for at, row in enumerate(rows):
        opening = "<tr>"
        if at in marked:
            opening = "<tr class=last>"
        body += f"{opening}{_cells('td', row, text)}</tr>"
    head = f"<thead><tr>{_cells('th', header, text)}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


def _cells(tag: str, row: Sequence[str], text: int) -> str:
    words = [f'<{tag} class="text">{escape(cell)}</{tag}>' for cell in row[:text]]
    numbers = [f"<{tag}>{escape(cell)}</{tag}>" for cell in row[text:]]
    return "".join(words + numbers)
