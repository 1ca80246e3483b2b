"""Short messages with a sentiment, to learn and to measure on. A leaf of the house: imports only ``exceptions``.

:func:`load_sample_tweets` ships with the package; :func:`load_gop_debate`
reads a file that the user has. Neither uses the network or writes anything.
"""

from skbert.datasets._gop_debate import load_gop_debate
from skbert.datasets._sample_tweets import load_sample_tweets

__all__ = ["load_gop_debate", "load_sample_tweets"]
