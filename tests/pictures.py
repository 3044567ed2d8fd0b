"""`make pictures`: the README's pictures, taken of the reports of `make run`'s sample."""

import io
import sys
from pathlib import Path

from browser import Browser, find_chromium
from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / ".github" / "pictures"
# Report -> how much of it is shown, in pixels from the top.
SHOWN = {"evaluate": (0, 1000), "denoise": (0, 1000)}
WIDTH, SCALE, COLOURS = 1000, 1.5, 128


def main(run: Path) -> None:
    """Takes the pictures of a run's reports."""
    chromium = find_chromium() or sys.exit("no chromium is installed: on Debian, apt-get install chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with Browser(chromium) as browser:
        browser.look(width=WIDTH)
        for name, (top, height) in SHOWN.items():
            browser.visit(run / "reports" / f"{name}.html")
            picture = Image.open(io.BytesIO(browser.picture(top=top, height=height, scale=SCALE)))
            # Few colours make a small file; a report has few.
            picture.convert("RGB").quantize(COLOURS).save(PICTURES / f"{name}.png", optimize=True)
            print(f"{PICTURES / name}.png: {(PICTURES / f'{name}.png').stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "runs" / "sample"))
