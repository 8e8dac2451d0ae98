"""Trains the demo models that ship in ``src/tensorhost/demo``. Needs the dev dependencies; tensorhost never imports it.

Every data set comes inside an installed wheel (scikit-learn, Django), so training needs no network.
"""
