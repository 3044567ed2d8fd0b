"""`make pictures`: the README's pictures, taken of the reports of `make run`'s sample."""

import io
import sys
from pathlib import Path

from browser import Browser, find_chromium
from PIL import Image

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / ".github" / "pictures"
# Report -> which part of it is shown: from which pixel on, how many.
SHOWN = {"evaluate": (0, 1300), "denoise": (0, 1300)}
WIDTH, SCALE = 1100, 1.25


def main(run: Path) -> None:
    """Takes the pictures of a run's reports."""
    chromium = find_chromium() or sys.exit("no chromium is installed: on Debian, apt-get install chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with Browser(chromium) as browser:
        browser.look(width=WIDTH)
        for name, (top, height) in SHOWN.items():
            browser.visit(run / "reports" / f"{name}.html")
            picture = Image.open(io.BytesIO(browser.picture(top=top, height=height, scale=SCALE)))
            # A palette makes a third of the bytes, and shows no difference.
            palette = picture.convert("RGB").quantize(method=Image.Quantize.MAXCOVERAGE, kmeans=4)
            palette.save(PICTURES / f"{name}.png", optimize=True)
            print(f"{PICTURES / name}.png: {(PICTURES / f'{name}.png').stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "runs" / "sample"))
