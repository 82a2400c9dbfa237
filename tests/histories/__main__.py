"""Writes the saved histories anew, all or those that are named: to be done on purpose only."""

import logging
import sys

from tests.histories.histories import rewrite

logging.disable(logging.WARNING)
rewrite(sys.argv[1:])
