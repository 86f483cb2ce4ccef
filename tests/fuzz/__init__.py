"""The real process under arbitrary events and arbitrary answers of the app.

``test_process.py`` is the bounded form, a part of ``make test``; ``python -m tests.fuzz`` goes on for as long as it is
told to. ``examples`` says what one example is, ``strategies`` draws them, ``session`` puts one through a process that
lives through all of them, ``properties`` judges what came of it, ``app_side`` is the app.

``heads`` does the like for heads: a handler and hooks say hostile things in every place from which they get into one.
"""
