"""Looks below itself."""

import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(__file__)))
from reach import look

look("sitecustomize")
