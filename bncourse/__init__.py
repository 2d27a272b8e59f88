"""Batch normalization, from the mathematics to a GPU kernel: the companion package of the course.

The package has three wings that do not import each other: ``reference`` (the mathematics, in NumPy), ``lab``
(seeded experiments) and ``kernels`` (the GPU). ``exercises``, ``experiments`` and ``layers`` stand on them.
Importing ``bncourse`` loads none of them; import the one you need.
"""

__version__ = "0.1.0"
