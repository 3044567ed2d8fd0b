"""Fixtures of the container tests."""

from engine import engine, images

__all__ = ["engine", "images"]
