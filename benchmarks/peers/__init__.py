"""The servers tensorhost is compared with, written as their own documentation and custom have it.

They run in a virtual environment of their own, outside the source tree, made by ``environment``; only the version of
TensorFlow is taken over from the one that runs tensorhost.
"""
