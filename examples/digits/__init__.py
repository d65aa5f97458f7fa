"""The demo: handwritten digits."""
