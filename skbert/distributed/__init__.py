"""Beyond one machine: vectors of texts that Ray's workers share. At the top of the house.

Needs ``pip install 'skbert[ray]'``; importing it does not import Ray.
"""

from skbert.distributed._dataset import embed_dataset
from skbert.distributed._parquet import embed_parquet

__all__ = ["embed_dataset", "embed_parquet"]
