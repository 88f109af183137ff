"""One image file -> RGB pixels, what it holds, and its thumbnail."""
