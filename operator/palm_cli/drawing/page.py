"""A picture as one HTML file: the drawing, the numbers, and sliders that ask for a preference.

The file fetches nothing. Names are a stranger's text: they are escaped, and a content security
policy lets no script run but the page's own.
"""

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from html import escape

from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from palm.usage import perplexity, policy_usage
from palm_cli.drawing.style import color, look
from palm_cli.drawing.view import View

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem }
h1 { font-size: 1.3rem } h2 { font-size: 1.05rem; margin-top: 2rem }
svg { width: 100%; height: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid #ddd }
i { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border: 1px solid #222 }
label { display: grid; grid-template-columns: 10rem 1fr 4rem; gap: .8rem; align-items: center }
output { font-weight: 600 }
"""
_SCRIPT = """
const data = JSON.parse(document.getElementById("data").textContent);
const sliders = [...document.querySelectorAll("input[type=range]")];
function route() {
  const raw = sliders.map(slider => Number(slider.value));
  const total = raw.reduce((a, b) => a + b, 0);
  const w = raw.map(value => total > 0 ? value / total : 1 / raw.length);
  w.forEach((share, i) => { sliders[i].nextElementSibling.textContent = share.toFixed(3); });
  const values = data.utilities.map(u => u.reduce((sum, value, i) => sum + w[i] * value, 0));
  const best = values.indexOf(Math.max(...values));
  document.getElementById("served").textContent =
    data.names[best] + ", worth " + values[best].toFixed(4);
}
sliders.forEach(slider => slider.addEventListener("input", route));
route();
"""


def portfolio_page(view: View, figure: Figure, *, title: str) -> str:
    """Return a self-contained HTML page with a portfolio's picture."""
    kept = [view.names[index] for index in view.kept]
    data = {"names": kept, "utilities": view.utilities[list(view.kept)].tolist()}
    body = [
        _svg(figure),
        "<h2>Who serves a preference?</h2>",
        *(
            f'<label>{escape(name)}<input type="range" min="0" max="1000" value="500">'
            "<span></span></label>"
            for name in view.objectives
        ),
        '<p>Served best by <output id="served"></output>.</p>',
        "<h2>Policies</h2>",
        _table(view),
        f'<script type="application/json" id="data">{_inert(data)}</script>',
        f"<script>{_SCRIPT}</script>",
    ]
    return _page(title, body)


def figure_page(figure: Figure, *, title: str) -> str:
    """Return a self-contained HTML page with a picture alone."""
    return _page(title, [_svg(figure)])


def _page(title: str, body: Sequence[str]) -> str:
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = [
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>",
    ]
    return "\n".join([*head, *body, "</html>\n"])


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with look():
        figure.savefig(text, format="svg", metadata={"Date": None})
    content = text.getvalue()
    return content[content.index("<svg") :]


def _table(view: View) -> str:
    shares = policy_usage(view.utilities[list(view.kept)])
    rows = [
        f'<tr><td><i style="background:{to_hex(color(position))}"></i>'
        f"{escape(view.names[index])}<td>{_numbers(view.weights[index].tolist())}"
        f"<td>{_numbers(view.utilities[index].tolist())}<td>{100 * shares[position]:.1f} %"
        for position, index in enumerate(view.kept)
    ]
    objectives = escape(", ".join(view.objectives))
    head = f"<tr><th>policy<th>weights ({objectives})<th>utilities<th>usage"
    return (
        f"<table>{head}{''.join(rows)}</table>"
        f"<p>Perplexity of the usage: {perplexity(shares):.3f} of {len(view.kept)}.</p>"
    )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _inert(data: object) -> str:
    """Return JSON that ends no element it is put into."""
    return json.dumps(data).replace("<", "\\u003c")
