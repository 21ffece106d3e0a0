"""What the rounds know: the pages they work on, how they collect, and what a finished round left."""
import dataclasses
from collections.abc import Iterator

from mathrl.mining import domains, duplicates, seeds, stages
from mathrl.mining.stages import Stage


@dataclasses.dataclass(frozen=True)
class Rounds:
    """How pages are collected.

    rounds: at most. threshold: the least score; inside_threshold: of a page below a prefix that was annotated as
    mathematics after the round before. token_budget: no more tokens than this, the best pages first (0: all); where it
    raises the threshold, it does so for all pages.
    positives, negatives: at most so many examples. domain_share: from which share of pages collected a domain is
    reviewed. prefix_share, min_pages: the unattended rule (see domains). stop_overlap: stop when this share of a
    round's pages was collected in the round before. first_updates: as FastText.min_updates, in round 1, whose negatives
    still hold mathematics: what is learned longer is learned by heart.
    """
    rounds: int = 4
    threshold: float = 0.8
    inside_threshold: float = 0.2
    token_budget: float = 0
    positives: int = 500_000
    negatives: int = 500_000
    domain_share: float = 0.1
    prefix_share: float = 0.7
    min_pages: int = 5
    stop_overlap: float = 0.98
    clear_score: float = 0.4
    first_updates: int = 10_000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Crawl:
    """The pages that the rounds work on."""
    texts: Stage
    by_url: Stage
    by_content: Stage
    seeds: Stage
    shards: tuple[int, ...]

    def pages(self, shard: int) -> Iterator[tuple[int, dict]]:
        return duplicates.pages(self.texts, shard, self.by_url, self.by_content)

    def seed_urls(self) -> frozenset[int]:
        return seeds.seed_urls(str(self.seeds.path('urls', 'npy')))


@dataclasses.dataclass(frozen=True)
class Round:
    """What a finished round left: where its scores are, and from which score on a page is collected.

    clear_score: below it a page is no mathematics for the next round's classifier. judged_by, annotations: paths of
    annotations.tsv, of the round before ('' in the first one) and of this one ('' where a person has still to write it).
    """
    number: int
    scores: Stage
    threshold: float
    inside_threshold: float
    clear_score: float
    judged_by: str
    annotations: str = ''
    summary: dict = dataclasses.field(default_factory=dict)

    def scored(self, shard: int) -> Iterator[tuple[int, float]]:
        """(row number, score) of a shard's pages."""
        return ((number, score) for number, score, _, _ in stages.read_rows(self.scores.path(shard)))

    def collects(self, url: str, score: float) -> bool:
        """Whether a page is taken by its score; seeds are in any case."""
        if score >= self.threshold or score < self.inside_threshold or not self.judged_by:
            return score >= self.threshold
        return domains.judged(url, domains.annotations(self.judged_by)) == 1
