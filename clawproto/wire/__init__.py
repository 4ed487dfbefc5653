"""Frames: their values, and the codec between them and text."""
