"""What pages cost: `python tests/e2e/ui/measure.py URL …`, of any address, so that peers are measured by the same rule.

Bytes, requests, elements, heap, layout shift, and milliseconds with how many times those of the reference page they
are, which is measured in the same run; with `--own` a selector says when a page may be used, and `--axe` looks for what
breaks the rules of accessibility.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import ROOT

from ui.stage import browser
from ui.walk import LEAST, TIMED, Walk, reference


def main() -> None:
    """Measures each and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="+")
    parser.add_argument("--own", default="main", help="what a page has once it may be used")
    parser.add_argument("--axe", action="store_true", help="name what breaks rules of accessibility, too")
    asked = parser.parse_args()
    axe = (ROOT / "services/ui/web/node_modules/axe-core/axe.min.js").read_text() if asked.axe else ""
    with browser() as chrome, reference() as fixed:
        other = Walk(chrome.new_page(), axe)
        for url in asked.url:
            measure = other.measure(fixed)
            # A context of its own: nothing of another page is in its cache, nor signed in.
            walk = Walk(chrome.new_context(viewport={"width": 1440, "height": 900}).new_page(), axe)
            found = walk.go(url, asked.own)
            said = [f"{name} {figure:.2f}" for name, figure in found.items() if name not in TIMED]
            said += [
                f"{it} {found[it]:.0f} ms ({found[it] / max(measure[it], LEAST[it]):.2f} of the reference)"
                for it in TIMED
            ]
            print(f"{url}: {'; '.join(said)}")
            for broken in walk.breaks() if asked.axe else []:
                print(f"  {broken}")
            walk.page.close()


if __name__ == "__main__":
    main()
