"""A handler whose module cannot be imported."""

import logging

logging.warning("init: logged")
raise ValueError("one\ntwo")
