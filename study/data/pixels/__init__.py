"""One image file -> RGB pixels, what it holds and how small it looks."""
