"""Fairlead's runtime: the Lambda Runtime API loop, the translation between events and HTTP, the app process.

Standard library only, and little of it: what is imported here is paid at every cold start. In the layer this package is
installed under the name ``fairlead``, so that a user's own ``runtime.py`` is never shadowed; imports inside it are
relative for that reason.
"""

__version__ = "0.1.0"
