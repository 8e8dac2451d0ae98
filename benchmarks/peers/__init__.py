"""The servers tensorhost is compared with, written as their own documentation and custom have it.

Each runs in a virtual environment of its own, outside the source tree, made by ``environment``; only the version of
TensorFlow is taken over from the one that runs tensorhost. Each file stands alone, as a user would write it: what they
have in common is repeated, not shared.
"""
