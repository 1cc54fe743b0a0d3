"""Makes the pictures of the live page that README and docs show, from a run folder.

    python tests/reference/dashboard_pictures.py RUN docs/images

They were made of ``dpem run --topology geometric --demand hotspot --load 40 --seconds 170``.
"""

import io
import sys
from pathlib import Path

from chromium import Chromium, Tab, find
from onlooker import Served
from PIL import Image

#: Name, size of the window, scheme, share of the run that is shown, what is done before.
PICTURES = (
    ("dashboard", (1440, 1080), "light", 0.8, ""),
    ("dashboard-dark", (1440, 1080), "dark", 0.8, ""),
    ("dashboard-narrow", (400, 860), "light", 0.8, "scrollTo(0, 420)"),
)
_COLOURS = 256


def picture(tab: Tab, size: tuple[int, int], scheme: str, share: float, code: str) -> bytes:
    """Return a PNG of few colours: flat surfaces lose nothing, and a repository stays small."""
    tab.screen(*size, mobile=size[0] < 600)
    tab.prefer(scheme)
    slot = tab.wait("dpem.page.frame.reach?.slot")
    at = round(slot * share)
    tab.evaluate(
        f"{{ const t = document.querySelector('#time'); t.value = {at};"
        " t.dispatchEvent(new Event('input')); }"
    )
    tab.wait(f"dpem.page.frame.now.slot === {at}")
    tab.evaluate(code or "0")
    # Two frames later everything has been drawn.
    tab.evaluate("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
    seen = Image.open(io.BytesIO(tab.picture())).convert("RGB")
    out = io.BytesIO()
    few = seen.quantize(
        _COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE
    )
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


def main(run: Path, images: Path) -> None:
    """Write all pictures."""
    program = find()
    if program is None:
        raise SystemExit("no Chromium")
    with Served(run) as served, Chromium(program) as browser:
        for name, *how in PICTURES:
            tab = browser.tab()
            tab.go(served.address(served.tokens.observe))
            tab.wait("dpem.page.frame.status.state === 'finished'")
            data = picture(tab, *how)
            (images / f"{name}.png").write_bytes(data)
            tab.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
