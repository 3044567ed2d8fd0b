"""Draws the products of the sample catalog."""

import numpy as np
from PIL import Image, ImageDraw

SIZE = 500  # pixels

# Every shape as parts, each a kind, coordinates in per cent of the shape's side, and a shade.
SHAPES = {
    "book": "rect 20 10 80 90 1, rect 26 10 30 90 0.6, rect 40 25 70 35 1.5",
    "cartridge": "rect 20 15 80 85 0.7, rect 30 25 70 60 1.4, rect 35 75 65 85 0.4",
    "pad": "oval 10 30 90 70 1, oval 20 42 36 58 0.5, oval 64 42 80 58 1.5",
    "console": "rect 10 35 90 65 0.9, rect 30 40 70 60 0.4",
    "figure": "oval 40 8 60 28 1.3, poly 50 28 70 60 30 60 1, rect 36 60 46 92 0.7, rect 54 60 64 92 0.7",
    "card": "rect 28 10 72 90 1.5, rect 33 16 67 55 0.8",
    "dice": "rect 10 45 50 85 1, rect 50 20 90 60 0.7, oval 25 60 35 70 1.8, oval 65 35 75 45 1.8",
    "ball": "oval 15 15 85 85 1, oval 30 25 45 40 1.6",
    "board": "rect 10 10 90 90 1.3, rect 10 10 50 50 0.7, rect 50 50 90 90 0.7",
    "drone": "rect 10 47 90 53 0.6, rect 47 10 53 90 0.6, oval 5 40 25 60 1, oval 75 40 95 60 1",
    "sock": "rect 35 10 60 65 1, oval 35 55 85 85 1, rect 35 10 60 20 1.6",
    "wheel": "oval 10 10 90 90 0.5, oval 20 20 80 80 1.9, oval 45 45 55 55 0.5",
    "bottle": "rect 35 35 65 90 1.2, rect 42 15 58 35 0.7",
    "chair": "rect 30 10 38 90 0.8, rect 30 50 75 58 0.8, rect 67 50 75 90 0.8",
    "cushion": "poly 10 20 50 28 90 20 82 50 90 80 50 72 10 80 18 50 1",
    "tin": "rect 25 30 75 85 1, oval 25 20 75 40 1.5",
    "lamp": "poly 35 10 65 10 80 50 20 50 1.3, rect 47 50 53 85 0.6, rect 30 85 70 90 0.6",
    "bone": (
        "rect 25 42 75 58 1.2, oval 10 30 32 52 1.2, oval 10 48 32 70 1.2, oval 68 30 90 52 1.2, "
        "oval 68 48 90 70 1.2"
    ),
    "page": "rect 22 8 78 92 1.6, rect 28 14 72 24 0.6, rect 28 32 72 36 0.9, rect 28 42 72 46 0.9",
    "stack": "rect 15 70 85 85 0.7, rect 20 53 80 68 1.1, rect 15 36 78 51 1.5, rect 22 19 82 34 0.9",
    "boxes": "rect 8 40 48 90 0.8, rect 52 40 92 90 1.2, rect 30 8 70 38 1.5",
    "pen": "poly 15 85 22 65 75 12 88 25 35 78 1, poly 15 85 22 65 35 78 0.4",
    "parasol": "poly 5 50 50 10 95 50 1, rect 48 50 52 95 0.5",
    "drop": "poly 50 5 75 50 25 50 1.2, oval 22 40 78 92 1.2",
    "hammer": "rect 45 30 55 95 1.3, rect 20 12 80 32 0.6",
    "key": "oval 10 30 50 70 1, oval 22 42 38 58 2.2, rect 48 46 92 54 1, rect 80 54 86 68 1",
}


def draw_product(shape: str, color: tuple[int, int, int], rng: np.random.Generator) -> Image.Image:
    """Draws a shape on white, 500x500, of random size, place and shade."""
    image = Image.new("RGB", (SIZE, SIZE), "white")
    pen = ImageDraw.Draw(image)
    side = SIZE * rng.uniform(0.45, 0.95)
    left, top = rng.uniform(0, SIZE - side, 2)
    light = rng.uniform(0.85, 1.15)
    for part in SHAPES[shape].split(", "):
        kind, *numbers = part.split()
        *places, shade = map(float, numbers)
        points = [(left, top)[i % 2] + place / 100 * side for i, place in enumerate(places)]
        fill = tuple(int(min(245, value * shade * light + 40 * max(0, shade - 1))) for value in color)
        if kind == "poly":
            pen.polygon(points, fill=fill)
        elif kind == "oval":
            pen.ellipse(points, fill=fill)
        else:
            pen.rectangle(points, fill=fill)
    return image
