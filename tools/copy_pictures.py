"""Copy pictures of the gallery, as `make docs` has just drawn them, to where README and guide show them.

    make docs && python tools/copy_pictures.py

They have the pixels for a dense screen and 256 colours, so that a clone stays small.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = {  # name here: example, number of its picture
    "attention.png": ("plot_attention", 3),
    "explanation.png": ("plot_explanation", 3),
    "tweet_sentiment.png": ("plot_tweet_sentiment", 1),
}


def main() -> None:
    """Copy all of them, and say how large they are."""
    for name, (example, number) in PICTURES.items():
        source = DOCS / "gallery" / "images" / f"sphx_glr_{example}_{number:03}_2_00x.png"
        target = DOCS / "images" / name
        with Image.open(source) as picture:
            picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
        print(f"{target.relative_to(DOCS.parent)}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
